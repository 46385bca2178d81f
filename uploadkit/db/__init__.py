"""The SQLite file: opening it, its lock, write transactions, and migrations with a backup before.

One connection per thread, kept for good: opening one per request was the largest single cost that we measured
(operations.md, "Facts measured"). Refuses to run twice on one data directory, and to open a newer database.
"""
