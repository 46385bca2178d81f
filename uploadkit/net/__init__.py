"""Requests that leave the machine to addresses that somebody else chose."""
