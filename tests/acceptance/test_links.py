"""`/f/{key}` and signed links: who can read what, until when."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.support.appliance import JPEG, Appliance, wait_until


def make_private(appliance: Appliance, slug: str) -> None:
    made = appliance.call("POST", f"/projects/{own_project(appliance)}/file-routes", {"slug": slug, "visibility": "private"})
    assert made.status in (201, 409), made.body


def own_project(appliance: Appliance) -> str:
    with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as connection:
        return str(connection.execute("SELECT id FROM project ORDER BY created_at LIMIT 1").fetchone()[0])


@pytest.fixture
def private_slug(appliance: Appliance) -> str:
    make_private(appliance, "secret")
    return "secret"


def link_to(appliance: Appliance, file: dict[str, str], **body: object) -> str:
    answer = appliance.call("POST", f"/files/{file['key']}/link", body)
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"url", "expiresAt"}
    return str(answer.json["url"])


def test_a_private_file_is_read_by_its_link_only(appliance: Appliance, private_slug: str) -> None:
    file = appliance.upload(JPEG, "Ferien é.jpg", routeSlug=private_slug)
    assert appliance.fetch("GET", file["url"]).status == 404
    url = link_to(appliance, file)
    assert url.startswith(f"{file['url']}?")
    redirect = appliance.fetch("GET", url)
    assert redirect.status == 302
    assert redirect.headers["Cache-Control"] == "private, no-store"
    got = appliance.fetch("GET", redirect.headers["Location"])
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, JPEG, "image/jpeg")
    assert got.headers["Content-Disposition"].startswith("inline;")
    assert appliance.fetch("HEAD", url).status == 302


def test_a_download_link_says_so_to_the_browser(appliance: Appliance) -> None:
    file = appliance.upload(JPEG)
    url = link_to(appliance, file, download=True)
    assert appliance.read(url).headers["Content-Disposition"].startswith("attachment;")
    for altered in (url.replace("&download=1", ""), link_to(appliance, file) + "&download=1"):
        assert appliance.fetch("GET", altered).status == 404


def test_forged_and_altered_links_are_nothing(appliance: Appliance, private_slug: str) -> None:
    file, other = (appliance.upload(JPEG, routeSlug=private_slug) for _ in range(2))
    url = link_to(appliance, file)
    query = parse_qs(urlsplit(url).query)
    expires, signature = query["expires"][0], query["signature"][0]
    assert re.fullmatch(r"[0-9a-f]{64}", signature)
    flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
    nowhere = appliance.fetch("GET", f"{appliance.base}/f/nowhere?expires={expires}&signature={signature}")
    for query_string in (
        f"expires={int(expires) + 1}&signature={signature}",
        f"expires=0{expires}&signature={signature}",
        f"expires={expires}.0&signature={signature}",
        f"expires={expires}&signature={flipped}",
        f"expires={expires}&signature={signature.upper()}",
        f"expires={expires}&signature={signature}00",
        f"expires={expires}&signature=",
        f"expires={expires}",
        f"signature={signature}",
        f"expires=&signature={signature}",
        "expires=%F0%9F%98%80&signature=%C3%BC",
        f"expires={expires}&expires={expires}&signature=x&signature={signature}",
    ):
        answer = appliance.fetch("GET", f"{file['url']}?{query_string}")
        assert (answer.status, answer.code) == (404, "NOT_FOUND"), query_string
        assert answer.json["error"] == nowhere.json["error"], "why it is wrong is nobody's business"
    assert appliance.fetch("GET", f"{other['url']}?{urlsplit(url).query}").status == 404
    assert appliance.fetch("GET", url).status == 302


def test_a_link_ends_at_its_time_and_so_does_what_it_leads_to(appliance: Appliance, private_slug: str) -> None:
    file = appliance.upload(JPEG, routeSlug=private_slug)
    url = link_to(appliance, file, expiresIn=1)
    location = appliance.fetch("GET", url).headers.get("Location", "")
    if location:  # a slow machine may be too late for this one
        assert int(parse_qs(urlsplit(location).query)["X-Amz-Expires"][0]) <= 5
    wait_until(lambda: appliance.fetch("GET", url).status == 404, 10, "the link to end")
    assert int(parse_qs(urlsplit(url).query)["expires"][0]) <= time.time()
    long = link_to(appliance, file, expiresIn=7 * 86400)
    expires = parse_qs(urlsplit(appliance.fetch("GET", long).headers["Location"]).query)["X-Amz-Expires"][0]
    assert int(expires) == 86400, "never longer than storage.read_expires_seconds"
    hours = link_to(appliance, file, expiresIn=7200)
    expires = parse_qs(urlsplit(appliance.fetch("GET", hours).headers["Location"]).query)["X-Amz-Expires"][0]
    assert 3600 < int(expires) <= 7201, "and never longer than the link"


def test_a_link_dies_with_its_file(appliance: Appliance, private_slug: str) -> None:
    file = appliance.upload(JPEG, routeSlug=private_slug)
    url = link_to(appliance, file)
    appliance.call("DELETE", f"/files/{file['key']}")
    assert appliance.fetch("GET", url).status == 404
    assert appliance.call("POST", f"/files/{file['key']}/link", {}).code == "NOT_FOUND"


def test_an_upload_under_way_has_no_link_yet(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    answer = appliance.call("POST", f"/files/{slot['key']}/link", {})
    assert (answer.status, answer.code) == (409, "CONFLICT")
    appliance.put(slot, JPEG)
    appliance.complete(slot)
    assert appliance.call("POST", f"/files/{slot['key']}/link", {}).status == 200


def test_links_outlive_a_restart_of_the_appliance_only_with_its_own_secret(appliance: Appliance) -> None:
    with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as connection:
        link_to(appliance, appliance.upload(JPEG))
        (secret,) = connection.execute("SELECT value FROM setting WHERE name = 'link_secret'").fetchone()
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert secret not in appliance.log()


@pytest.mark.parametrize("name", ["link", "link.link", "by-id", "a.jpg"])
def test_keys_that_look_like_paths_of_the_api(appliance: Appliance, name: str) -> None:
    file = appliance.upload(JPEG, name)
    for key in (file["key"], quote(file["key"], safe="")):
        assert appliance.call("GET", f"/files/{key}").json["id"] == file["id"]
        made = appliance.call("POST", f"/files/{key}/link", {"expiresIn": 60})
        assert made.status == 200, made.body
        assert appliance.read(made.json["url"]).body == JPEG
    assert appliance.call("GET", f"/files/{file['key']}/link").code == "NOT_FOUND"
    if name != "link":
        assert appliance.call("POST", f"/files/{file['key']}").status == 405
    assert appliance.call("DELETE", f"/files/{quote(file['key'], safe='')}").status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expiresIn": 0}, "expiresIn"),
        ({"expiresIn": -1}, "expiresIn"),
        ({"expiresIn": 604_801}, "expiresIn"),
        ({"expiresIn": "60"}, "expiresIn"),
        ({"expiresIn": 1.5}, "expiresIn"),
        ({"expiresIn": 10**30}, "expiresIn"),
        ({"download": "yes"}, "download"),
    ],
)
def test_bad_wishes_for_a_link_name_the_field(appliance: Appliance, body: object, field: str) -> None:
    answer = appliance.call("POST", "/files/nowhere/link", body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]


def test_links_are_for_those_who_have_the_file(appliance: Appliance, outsider_key: str, test_key: str) -> None:
    file, tested = appliance.upload(JPEG), appliance.upload(JPEG, key=test_key)
    for key, foreign in ((outsider_key, file), (test_key, file), (None, tested)):
        refused = appliance.call("POST", f"/files/{foreign['key']}/link", {}, key=key)
        assert (refused.status, refused.code) == (404, "NOT_FOUND")
    assert appliance.call("POST", f"/files/{tested['key']}/link", {}, key=test_key).status == 200
    assert appliance.call("POST", f"/files/{file['key']}/link", {}, key="").status == 401


def test_a_public_file_needs_no_link(appliance: Appliance) -> None:
    redirect = appliance.fetch("GET", appliance.upload(JPEG)["url"])
    assert redirect.status == 302
    assert redirect.headers["Cache-Control"].startswith("public")
