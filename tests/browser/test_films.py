"""A film that is paused, in a real Chromium: where it is continued later than upload URLs live."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance, running

_UPLOAD_SECONDS = 5
SEEK = """() => new Promise((resolve) => {
  const film = document.querySelector("audio");
  film.onseeked = () => resolve("played on"); setTimeout(() => resolve("still waiting"), 15000);
  film.currentTime = film.duration * 0.9;
})"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with running(tmp_path_factory.mktemp("films"), STORAGE__PRESIGN_EXPIRES_SECONDS=str(_UPLOAD_SECONDS)) as started:
        yield started


def long_recording() -> bytes:
    """A sound without compression, so that its bytes and its time go together, and so long that a browser does not load it all."""
    size = 96 * 1024**2
    of_sound = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44_100, 88_200, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + of_sound + struct.pack("<4sI", b"data", size) + bytes(size)


def test_a_film_goes_on_after_a_pause(page: Page, appliance: Appliance) -> None:
    file = appliance.upload(long_recording(), "long.wav", "audio/wav")
    link = appliance.call("POST", f"/files/{file['key']}/link", {"expiresIn": 3600}).json["url"]
    page.goto(f"{appliance.base}/healthz")
    for url in (file["url"], link):
        page.set_content(f'<audio preload="metadata" src="{url}"></audio>')
        page.wait_for_function("document.querySelector('audio').readyState >= 1")
        began = time.monotonic()
        wait_beside(page, lambda began=began: time.monotonic() > began + _UPLOAD_SECONDS + 1)  # the pause
        assert page.evaluate(SEEK) == "played on"
