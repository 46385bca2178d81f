"""What runs by itself or by the admin: the sweeper, retention, reconciling, moving to another store."""
