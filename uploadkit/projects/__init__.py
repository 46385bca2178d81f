"""Projects, their file routes, quotas and usage."""
