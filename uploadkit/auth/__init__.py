"""Who asks, and what they may do: API keys, admins, their sessions and passwords, the audit trail."""
