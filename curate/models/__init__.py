"""Models: image-text encoders, heads and detectors, run as they were published."""
