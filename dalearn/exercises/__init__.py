"""The exercises of the book: one file a part, the judges of answers, and `check`."""
