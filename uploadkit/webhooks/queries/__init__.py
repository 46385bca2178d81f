"""What the database is asked and told of webhooks: `events`, `deliveries` with their attempts, `destinations`, and signing `secrets`.

What inserts, changes or deletes belongs into the caller's write transaction.
"""
