"""A pipeline as a job of a Ray cluster: checked here, its files taken along, its log followed."""
