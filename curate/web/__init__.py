"""Fetching from the web: one polite, bounded request at a time for each host."""
