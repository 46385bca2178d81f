"""The SQLite file: opening it, write transactions that share their commits, and migrations with a backup before.

One connection per thread, kept for good: opening one per request was the largest single cost that we measured. Refuses to open a newer
database.
"""
