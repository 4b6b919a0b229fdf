"""Training shards and subset files, and whether they are as written."""
