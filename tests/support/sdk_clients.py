"""What the cloud's packages send and expect."""

from __future__ import annotations

import http.client
from contextlib import closing
from urllib.parse import urlsplit

from tests.support.appliance import Answer

PAGE = "https://app.example.com"


FILE_FIELDS = {"id", "_id", "key", "name", "size", "type", "url", "status", "metadata", "createdAt", "updatedAt"}


def xhr_put(url: str, content: bytes, content_type: str | None) -> Answer:
    """PUT as XMLHttpRequest does on a page of another origin: `Content-Type` as told, also when it is empty; nothing else of ours."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.putrequest("PUT", f"{parts.path}?{parts.query}", skip_accept_encoding=True)
        connection.putheader("Origin", PAGE)
        if content_type is not None:
            connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
