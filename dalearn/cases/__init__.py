"""Set-ups of papers, importable, with the scores that they document."""
