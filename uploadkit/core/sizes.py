"""Sizes that several places count with, in bytes."""

from __future__ import annotations

MIB = 1024**2
LARGEST_PUT_BYTES = 5 * 1024**3
"""What S3 takes in one PUT: a whole object, or one part."""
LARGEST_OBJECT_BYTES = 5 * 1024**4
"""What S3 takes as one object, put together from parts."""
SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""A PUT that was begun in time may take as long as this speed needs, before its upload ends."""
