"""Taking rows back out: of a store with all that was made of them, and of training shards without one."""
