"""The image-text encoder that ships with curate: small, offline, English; not CLIP."""
