"""Scores of one data set, and of the session that it was made from."""
