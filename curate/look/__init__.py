"""Looking at a store: in Python, on the command line, as a page."""
