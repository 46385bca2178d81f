"""What the database is asked and told by the jobs and the admin's commands, by subject."""
