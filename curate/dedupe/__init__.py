"""Duplicate rules, one op per file."""
