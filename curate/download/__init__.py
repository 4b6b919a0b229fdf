"""From URLs to stored images: one polite, bounded request at a time for each host."""
