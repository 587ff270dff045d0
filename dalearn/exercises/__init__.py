"""The exercises of the book: what is asked, and what an answer is judged by."""
