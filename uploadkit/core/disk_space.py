"""How much of a disk is kept free."""

from __future__ import annotations

from uploadkit.core.sizes import MIB


def reserve_bytes(total_bytes: int) -> int:
    """Return the free disk (of `total_bytes`) below which no upload is accepted. Above 1 %, where weed stops by itself."""
    return max(256 * MIB, total_bytes // 50)
