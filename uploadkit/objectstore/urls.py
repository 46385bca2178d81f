"""The lasting URL of a file. Signed links with an expiry are in links.py."""

from __future__ import annotations

from uploadkit.config import Config
from uploadkit.db.models import Event, File
from uploadkit.objectstore.address import object_url


def public_url(config: Config, file: File | Event) -> str:
    """Return the lasting URL of a file: on the bucket's own domain if there is one and the file is public, else under `/f/`."""
    if config.storage.public_url and file.visibility == "public":
        return object_url(config.storage.public_url, file.key)
    return object_url(f"{config.server.base_url}/f", file.key)
