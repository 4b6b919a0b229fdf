"""A pipeline file: its steps, and every check before any work."""
