"""Events and their way to receivers: the log, the outbox, delivery."""
