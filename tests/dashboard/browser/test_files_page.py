"""The files page as it is used for longer: a preview whose address has expired, and folders dropped on the drop zone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import samples
from tests.dashboard.visitors import new_admin
from tests.support.appliance import Appliance, running
from tests.support.browsers import Watched
from tests.support.drops import drop
from tests.support.signed_in import sign_in

URL_SECONDS = 4
FILES = "/dashboard/p/default/live/files"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance whose read URLs are soon over, with an admin; its store lets pages of one web site upload, and the dashboard."""
    settings = {"STORAGE__READ_EXPIRES_SECONDS": str(URL_SECONDS), "STORAGE__BUNDLED__CORS_ORIGINS": '["https://app.example.com"]'}
    with running(tmp_path_factory.mktemp("files-page"), **settings) as appliance:
        new_admin(appliance)
        yield appliance


def test_a_recording_goes_on_after_its_url_has_expired(page: Page, shop: Appliance) -> None:
    recording = samples.wav(2)
    header, sound = recording[:36], recording[44:]
    sound *= 80 * 1024**2 // len(sound)
    content = header[:4] + (36 + len(sound)).to_bytes(4, "little") + header[8:] + b"data" + len(sound).to_bytes(4, "little") + sound
    file_id = shop.upload(content, "concert.wav", "audio/wav")["id"]
    sign_in(page, shop)
    page.goto(f"{shop.base}{FILES}/{file_id}")
    stands = "({ at }) => { const a = document.querySelector('audio'); return a.readyState >= 2 && !a.seeking && a.currentTime >= at; }"
    seek = "(at) => { document.querySelector('audio').currentTime = at; }"
    page.evaluate(seek, 1)
    page.wait_for_function(stands, arg={"at": 1})
    length = page.evaluate("document.querySelector('audio').duration")
    page.wait_for_timeout((URL_SECONDS + 1) * 1000)  # the lifetime of what it was led to
    page.evaluate(seek, length * 0.97)
    page.wait_for_function(stands, arg={"at": length * 0.97}, timeout=40_000)


def test_a_folder_is_not_uploaded_and_the_file_beside_it_is(page: Page, shop: Appliance, watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "note.txt").write_text("Beside it")
    (tmp_path / "empty.txt").touch()
    sign_in(page, shop)
    page.goto(f"{shop.base}{FILES}")
    drop(page, "[data-upload]", tmp_path / "album", tmp_path / "note.txt", tmp_path / "empty.txt")
    rows = page.locator(".uploads li")
    expect(rows.filter(has_text="album")).to_contain_text("A folder can't be uploaded: choose the files in it")
    expect(rows.filter(has_text="note.txt")).to_contain_text("uploaded")
    expect(rows.filter(has_text="empty.txt")).to_contain_text("The file is empty")
    assert shop.call("GET", "/files?status=UPLOADING").json["items"] == []
    assert watched.errors == []


def test_many_files_at_once(page: Page, shop: Appliance, watched: Watched, tmp_path: Path) -> None:
    """A thousand were tried by hand."""
    files = [tmp_path / f"{number}.txt" for number in range(60)]
    for path in files:
        path.write_text(f"The drop zone sends {path.name}")
    sign_in(page, shop)
    page.goto(f"{shop.base}{FILES}")
    drop(page, "[data-upload]", *files)
    rows = page.locator(".uploads li")
    expect(rows).to_have_count(60)
    expect(rows.filter(has_text="uploaded")).to_have_count(60)
    assert watched.errors == []
