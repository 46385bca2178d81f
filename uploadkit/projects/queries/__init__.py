"""What the database is asked and told of projects: `projects`, `file_routes`, and `counters` of use and requests."""
