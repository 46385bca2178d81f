"""The process: first run, start and stop, the HTTP server."""
