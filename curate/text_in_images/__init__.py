"""Text in images: found, read, masked, told from the caption."""
