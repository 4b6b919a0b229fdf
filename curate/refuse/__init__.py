"""What may not come in: rows that were removed, and those whose owners opted out. Keys are kept, no content."""
