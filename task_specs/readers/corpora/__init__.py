"""One reader for each published data set."""
