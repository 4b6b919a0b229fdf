"""MetaCLIP: matching captions with entry lists, and balancing them."""
