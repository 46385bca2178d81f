"""`make screenshots`: a picture of every page, light and dark, wide and on a phone, in build/screenshots; those of the README in docs."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page

from tests.dashboard import stock
from tests.support.appliance import ROOT
from tests.support.browsers import chromium
from uploadkit.core.clock import DAY_MS

SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
IN_THE_README = ("overview-light-wide", "files-dark-wide", "file-light-wide", "keys-dark-phone")
OVER_A_PAGE = {"file-panel", *(f"{name}-dialog" for name in stock.DIALOGS)}
_MONTH = """
INSERT OR REPLACE INTO usage (project_id, environment, period, uploads, bytes_uploaded, bytes_deleted)
SELECT id, 'live', ?, ?, ?, ? FROM project WHERE slug = 'default'
"""
_REQUESTS = """
INSERT OR REPLACE INTO request_count (project_id, environment, day, requests)
SELECT id, 'live', ?, ? FROM project WHERE slug = 'default'
"""
_UPLOAD = """
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status, size_bytes, content_type,
                   visibility, file_created_at)
SELECT id || ?, (SELECT max(at) FROM event) - ?, event, project_id, environment, file_id || '-again', key, file_name, route_slug, status,
       size_bytes, content_type, visibility, file_created_at
  FROM event WHERE event = 'upload.completed' AND environment = 'live' ORDER BY sequence LIMIT 1 OFFSET ?
"""


def main(*wanted: str) -> None:
    """Take the pictures of all pages, or of those whose names are given."""
    target, chosen = ROOT / "build/screenshots", ROOT / "docs/screenshots"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, stock.stocked(Path(home)) as stocked, chromium() as browser:
        let_time_pass(stocked)
        page = browser.new_page(reduced_motion="reduce", viewport=SIZES["wide"])  # type: ignore[arg-type]
        for name in stock.visit(page, stocked):
            if not wanted or name in wanted:
                take(page, name, target)
    for name in IN_THE_README:
        shutil.copy(target / f"{name}.png", chosen)
    print(f"{len(list(target.glob('*.png')))} pictures are in {target}")


def take(page: Page, name: str, target: Path) -> None:
    """Take the four pictures of the page as it stands."""
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_load_state("networkidle")
    for size, viewport in reversed(SIZES.items()):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            picture = f"{name}-{scheme}-{size}"
            page.screenshot(path=target / f"{picture}.png", full_page=picture not in IN_THE_README and name not in OVER_A_PAGE)


def let_time_pass(stocked: stock.Stocked) -> None:
    """Have what has just been made look as if the appliance had been in use for long."""
    appliance = stocked.appliance
    appliance.kill()  # it remembers what days that are over have brought; and a delivery under way would hold up its stop
    with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db", timeout=30)) as database, database:
        spread_files(database)
        add_days(database)
        add_months(database)
        database.execute("UPDATE project SET storage_used_bytes = 37 * (1 << 30) WHERE slug = 'default'")
    appliance.start()


def spread_files(database: sqlite3.Connection) -> None:
    """Make all files but the newest older, by up to four weeks, with what happened to them."""
    files = [row[0] for row in database.execute("SELECT number FROM file WHERE status IN ('UPLOADED', 'FAILED') ORDER BY number DESC")]
    for place, number in enumerate(files[3:], 1):
        back = (place * place // 30 + place // 3) % 29 * DAY_MS + place * 1_234_567
        database.execute("UPDATE event SET at = at - ? WHERE file_id = (SELECT id FROM file WHERE number = ?)", (back, number))
        database.execute(
            "UPDATE file SET number = number - (? << 20), created_at = created_at - ?, uploaded_at = uploaded_at - ? WHERE number = ?",
            (back, back, back, number),
        )


def add_days(database: sqlite3.Connection) -> None:
    """Have more uploads stand in the log of each day, as if of files that were uploaded again and again."""
    for back in range(1, 30):
        for number in range(6 + back * 7 % 11 + back % 3 * 4):
            database.execute(_UPLOAD, (f"-{back}-{number}", back * DAY_MS + number * 1_234_567, number))


def add_months(database: sqlite3.Connection) -> None:
    """Fill the usage of this month and of eight before it."""
    now = time.gmtime()
    for back in range(9):
        period = f"{now.tm_year + (now.tm_mon - 1 - back) // 12}-{(now.tm_mon - 1 - back) % 12 + 1:02}"
        database.execute(_MONTH, (period, 410 + back * 37 % 190, 90_000_000 + back * 7_654_321, back * 1_234_567))
        database.execute(_REQUESTS, (f"{period}-01", 1800 + back * 397 % 800))
    database.execute(_REQUESTS, (time.strftime("%Y-%m-%d", now), 164))


if __name__ == "__main__":
    main(*sys.argv[1:])
