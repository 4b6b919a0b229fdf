"""Scores of a single record, one op per file. `curate.score(...)` runs some: `curate.api.score`."""
