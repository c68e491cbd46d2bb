"""Scores, the page that shows them, and the files that both are written to."""
