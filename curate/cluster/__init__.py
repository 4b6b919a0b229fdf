"""Shards over workers: in this process, on Ray, as a submitted job."""
