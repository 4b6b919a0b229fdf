"""Finished WebDataset shards into the shards of a subset, without a store."""
