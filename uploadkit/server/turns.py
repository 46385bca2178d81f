"""The order in which requests are answered: clients take turns, so that a burst of one client does not delay all others.

One API key may send three hundred requests at once. In order of arrival, everybody else would wait until all of them are answered.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from uploadkit.server.connections import Channel


class Turns:
    """A queue of connections in place of waitress's own. Its dispatcher calls it under a lock."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, deque[Channel]] = OrderedDict()
        self._count = 0

    def append(self, channel: Channel) -> None:
        """Put a connection with a request to be answered at the end of its client's row."""
        self._rows.setdefault(client_of(channel), deque()).append(channel)
        self._count += 1

    def popleft(self) -> Channel:
        """Take out the first connection of the client that has waited longest for a turn. Raises IndexError when there is none."""
        if not self._rows:
            raise IndexError
        client, row = self._rows.popitem(last=False)
        channel = row.popleft()
        if row:
            self._rows[client] = row
        self._count -= 1
        return channel

    def __len__(self) -> int:
        return self._count


def client_of(channel: Any) -> str:
    """Return who asks: the sender of this credential, or without one this address.

    The credential is not verified yet. A client that invents many gets as many turns, but a refused request costs little.
    """
    headers = channel.requests[0].headers if channel.requests else {}
    credential = headers.get("X_API_KEY") or headers.get("AUTHORIZATION")
    return f"by {credential}" if credential else str(channel.addr[0])
