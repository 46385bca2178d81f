"""The statements about who asks: `api_keys`, `admins` with their set-up links, `sessions`, the `audit` trail, and the project of a caller.

What inserts, changes or deletes belongs into the caller's write transaction.
"""
