"""Suites: many methods measured alike and compared, one folder each."""
