"""The wire contract, per resource in one file: what comes in, what goes out, and how a row becomes it. Knows no Flask."""
