"""The lasting URL of a file. Signed links with an expiry are in files/links.py."""

from __future__ import annotations

from typing import Protocol

from uploadkit.config import Config
from uploadkit.objectstore.address import object_url


class HasKey(Protocol):
    """A file, or what tells of one: its key at the store, and who may read it ("public" or "private")."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def visibility(self) -> str: ...  # noqa: D102


def public_url(config: Config, file: HasKey) -> str:
    """Return the lasting URL of a file: on the bucket's own domain if there is one and the file is public, else under `/f/`."""
    if config.storage.public_url and file.visibility == "public":
        return object_url(config.storage.public_url, file.key)
    return object_url(f"{config.server.base_url}/f", file.key)
