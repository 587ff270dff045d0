"""Files that appear whole or not at all, fingerprints of what is in them, and progress bars."""
