"""A web of many hosts on this machine that misbehave in known ways, and what a downloader has to make of each."""
