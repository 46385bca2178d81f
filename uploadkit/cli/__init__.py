"""The command line: thin commands over the same functions that the API calls."""
