"""What concurrent requests have to agree on: locks, rate limits, idempotency keys."""
