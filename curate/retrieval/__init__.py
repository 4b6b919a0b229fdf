"""Rows of a store nearest to given vectors."""
