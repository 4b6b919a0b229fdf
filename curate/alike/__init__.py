"""Which rows are equal or alike, and which of them stays: keys, hashes, signatures, and the groups that links make."""
