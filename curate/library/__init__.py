"""What ships and what a user brings: names, YAML, modules of the user's, the source that an op is made of."""
