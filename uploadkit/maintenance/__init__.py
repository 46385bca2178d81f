"""What runs by itself or by the admin: sweeping, retention, backups, reconciling, moving to another store."""
