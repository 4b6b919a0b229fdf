"""Finding rows that are near each other: hashes, signatures, and the groups that links make."""
