"""The appliance as it is measured: everything switched on, its limits out of reach; and a stock of uploads that wait for complete."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.appliance import JPEG, Appliance, running
from tests.support.receivers import Receiver

SMALL = JPEG + bytes(4096 - len(JPEG))
# Limits that are counted, but never reached: an answer of 429 is no answer.
GENEROUS = {
    "TIERS__PRO__REQUESTS_PER_MINUTE": "100000000",
    "TIERS__PRO__MAX_UPLOADS_PER_MONTH": "100000000",
    "TIERS__PRO__MAX_STORAGE": "1000TB",
    "TIERS__PRO__MAX_FILE_SIZE": "5GB",
    "RATE_LIMITS__AUTH_FAILURES_PER_MINUTE": "60",
    "WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]',
    "SERVER__ONE_CORE": "true",
}


@contextlib.contextmanager
def app(**settings: str) -> Iterator[Appliance]:
    """An appliance with its bundled store, on a folder of its own that is thrown away."""
    with tempfile.TemporaryDirectory() as home, running(Path(home), **GENEROUS, **settings) as appliance:
        yield appliance


def request_body(route: str = "default") -> str:
    """What a client posts to `/upload/request`."""
    return json.dumps({"fileName": "photo.jpg", "fileSize": len(SMALL), "contentType": "image/jpeg", "routeSlug": route})


def headers(appliance: Appliance) -> dict[str, str]:
    """What a client sends along."""
    return {"x-api-key": appliance.key, "Content-Type": "application/json"}


def add_route(appliance: Appliance, receiver: Receiver, slug: str) -> str:
    """Make the file route `slug`, whose uploads are told to `receiver`; return the slug."""
    project = appliance.call("GET", "/projects").json["items"][0]["id"]
    made = appliance.call("POST", f"/projects/{project}/file-routes", {"slug": slug, "webhookUrl": receiver.url})
    assert made.status == 201, made.body
    return slug


class Stock:
    """Uploads whose bytes are at the store, each to be completed once."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance, self._bodies = appliance, list[str]()

    def at_least(self, count: int) -> list[str]:
        """Return the bodies of `count` calls of `/upload/complete`, or more."""
        with ThreadPoolExecutor(8) as threads:
            self._bodies += threads.map(self._upload, range(count - len(self._bodies)))
        return self._bodies

    def _upload(self, _: int) -> str:
        slot = self._appliance.request(len(SMALL))
        assert slot.status == 200, slot.body
        assert self._appliance.put(slot.json, SMALL).status == 200
        return json.dumps({"fileId": slot.json["fileId"]})

    def use(self, count: int) -> None:
        """Forget the first `count`."""
        del self._bodies[:count]
