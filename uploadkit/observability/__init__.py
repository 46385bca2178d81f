"""What an admin looks at: logs, health, the doctor."""
