"""`make dist`: what is handed out, made from the lock files. Not part of the appliance (docs/decisions/0052-one-executable.md)."""
