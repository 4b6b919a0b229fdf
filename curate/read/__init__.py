"""Any input as records in shards."""
