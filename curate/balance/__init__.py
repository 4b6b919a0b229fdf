"""Balancing methods, one op per file."""
