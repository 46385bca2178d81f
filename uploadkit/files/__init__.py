"""One upload, one file: the same row, from the first request to deletion."""
