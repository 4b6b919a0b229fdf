"""Columns for rows: ops on single rows in one pass over a shard, ops on all rows through small files."""
