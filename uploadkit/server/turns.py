"""Whose request is next: those who ask take turns, so that nobody waits behind all that somebody else has asked for at once.

One API key may ask for five lists a second all year, or for three hundred at once; first come, first served would have everybody else wait
until all of them are made.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from uploadkit.server.connections import Channel


class Turns:
    """A queue of connections, in the place of the one that waitress has: used as that is, under the lock of its dispatcher."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, deque[Channel]] = OrderedDict()
        self._count = 0

    def append(self, channel: Channel) -> None:
        """Put a connection, whose request is to be answered, at the end of its client's row."""
        self._rows.setdefault(client_of(channel), deque()).append(channel)
        self._count += 1

    def popleft(self) -> Channel:
        """Take out the first connection of the client that has had no turn the longest. Raises IndexError where there is none."""
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
    """Return who asks: whoever sends this credential, else whoever is at this address.

    Nobody has looked at the credential. Who makes up many has as many turns, but what is refused costs little.
    """
    headers = channel.requests[0].headers if channel.requests else {}
    credential = headers.get("X_API_KEY") or headers.get("AUTHORIZATION")
    return f"by {credential}" if credential else str(channel.addr[0])
