"""A dataset on disk: folders, checked files, the manifest, one command at a time. It knows no op."""
