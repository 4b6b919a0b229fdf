"""Scores of a single record, one op per file."""
