"""Anonymous uploads: which pages get in, and that requests without uploads can't take the quota from others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import Appliance, running
from tests.support.pages import Page

GOOD = "https://good.example.com"
KIB = 1024


@pytest.fixture(scope="module")
def open_appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance that lets one address have little under way."""
    settings = {
        "SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]',
        "BROWSER__ANONYMOUS_PENDING_UPLOADS": "3",
        "BROWSER__ANONYMOUS_PENDING_BYTES": "40KB",
        "BROWSER__REQUESTS_PER_MINUTE": "50",
    }
    with running(tmp_path_factory.mktemp("anonymous"), **settings) as appliance:
        project = first_project(appliance)
        for slug, rules in {
            "drop": {"anonymousUploads": True, "allowedOrigins": [GOOD, "http://localhost:5173"]},
            "closed": {"anonymousUploads": False, "allowedOrigins": [GOOD]},
            "nobody": {"anonymousUploads": True},
        }.items():
            made = appliance.call("POST", f"/projects/{project}/file-routes", {"slug": slug, "maxFileSize": "512KB", **rules})
            assert made.status == 201, made.body
        yield appliance


def first_project(appliance: Appliance) -> str:
    return appliance.project_id


_addresses = iter(range(1, 60_000))


def visitor(appliance: Appliance, origin: str = GOOD, slug: str = "drop", address: str = "") -> Page:
    """A page on a machine of its own, as its reverse proxy presents it."""
    number = next(_addresses)
    return Page(
        appliance, f"{appliance.base}/api/uploadkit", origin, slug, address or f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
    )


def test_a_page_of_an_allowed_origin_uploads(open_appliance: Appliance) -> None:
    done = visitor(open_appliance).upload(metadata={"by": "somebody"})
    assert done.status == 200, done.body
    assert done.json["file"]["metadata"] == {}
    file = open_appliance.call("GET", f"/files/{done.json['file']['key']}").json
    assert (file["clientMetadata"], file["routeSlug"], file["environment"]) == ({"by": "somebody"}, "drop", "live")
    assert open_appliance.read(file["url"]).status == 200


ORIGINS = {
    GOOD: True,
    "http://localhost:5173": True,
    "null": False,
    "": False,
    "*": False,
    "https://good.example.com.evil.com": False,
    "https://evil-good.example.com": False,
    "https://evil.com/https://good.example.com": False,
    "https://good.example.com@evil.com": False,
    "https://sub.good.example.com": False,
    "https://example.com": False,
    "https://good.example.co": False,
    "https://good-example.com": False,
    "https://goodxexample.com": False,
    "https://good.example.com.": False,
    "https://good.example.com/": False,
    "https://good.example.com:443": False,
    "https://good.example.com:8443": False,
    "http://good.example.com": False,
    "HTTPS://GOOD.EXAMPLE.COM": False,
    "//good.example.com": False,
    "good.example.com": False,
    f"{GOOD} {GOOD}": False,
    f"{GOOD},https://evil.com": False,
    f" {GOOD}/x": False,
    "http://localhost": False,
    "http://localhost:51730": False,
    "http://127.0.0.1:5173": False,
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_origins(open_appliance: Appliance, origin: str) -> None:
    page = visitor(open_appliance, origin)
    preflight = open_appliance.fetch("OPTIONS", page.address, headers=page.headers)
    rules = open_appliance.fetch("GET", page.address, headers=page.headers)
    began = page.request(1)
    for answer in (preflight, rules, began):
        assert answer.headers["Vary"] == "Origin"
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if ORIGINS[origin] else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers
    if ORIGINS[origin]:
        assert (rules.status, began.status) == (200, 200)
        return
    for answer in (rules, began, page.act("upload-complete", fileId="x", key="y"), page.act("multipart-init")):
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert "Access-Control-Allow-Methods" not in preflight.headers


def test_no_origin_at_all(open_appliance: Appliance) -> None:
    for method, body in (("GET", None), ("POST", b'{"action":"request-upload"}')):
        headers = {"Content-Type": "application/json", "X-Forwarded-For": "10.9.9.9"}
        answer = open_appliance.fetch(method, f"{open_appliance.base}/api/uploadkit/drop", body, headers)
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("slug", ["closed", "default", "nowhere", "drop ", "DROP", "t", "%00"])
def test_a_file_route_that_is_not_anonymous_is_not_there(open_appliance: Appliance, slug: str) -> None:
    answer = visitor(open_appliance, slug=slug).request(1)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_origins_nobody_gets_in(open_appliance: Appliance) -> None:
    assert visitor(open_appliance, slug="nobody").request(1).code == "FORBIDDEN"


def test_an_anonymous_upload_is_reached_by_nobody_else(open_appliance: Appliance) -> None:
    page = visitor(open_appliance)
    by_key = open_appliance.request(5, routeSlug="drop").json
    assert page.complete(by_key).code == "UPLOAD_NOT_FOUND"
    done = page.upload().json["file"]
    slot = {"key": done["key"], "fileId": done["id"]}
    assert page.complete(slot).status == 200
    assert visitor(open_appliance).complete(slot).code == "UPLOAD_NOT_FOUND", "a finished file's id is no secret"


def test_a_client_that_changes_its_address_can_finish(open_appliance: Appliance) -> None:
    slot = visitor(open_appliance).request(5, "text/plain").json
    assert open_appliance.put(slot, b"12345", "text/plain").status == 200
    assert visitor(open_appliance).complete(slot).status == 200


def test_one_address_has_few_uploads_and_bytes_under_way(open_appliance: Appliance) -> None:
    page = visitor(open_appliance)
    began = [page.request(1) for _ in range(4)]
    assert [answer.status for answer in began] == [200, 200, 200, 429]
    assert began[3].code == "RATE_LIMITED"
    assert 0 < int(began[3].headers["Retry-After"]) <= 15, "any of them may end at any moment"
    assert began[3].headers["Access-Control-Allow-Origin"] == GOOD
    assert "Retry-After" in began[3].headers["Access-Control-Expose-Headers"]
    large = visitor(open_appliance)
    assert [large.request(size * KIB).status for size in (41, 30, 11)] == [413, 200, 429]


def test_an_aborted_upload_gives_its_place_back_and_keeps_its_bytes(open_appliance: Appliance) -> None:
    """Its URL may still store them, until its deadline."""
    page = visitor(open_appliance)
    slots = [page.request(10 * KIB).json for _ in range(3)]
    assert page.request(1).status == 429
    for slot in slots:
        for _ in range(2):
            assert page.act("upload-abort", fileId=slot["fileId"], key=slot["key"]).json == {"aborted": True}
        assert open_appliance.put(slot, b"x" * 10 * KIB, "image/jpeg").status == 200
        assert page.complete(slot).code == "UPLOAD_NOT_FOUND"
    assert page.request(1).status == 200
    soon, full = page.request(10 * KIB), page.request(11 * KIB)
    assert (soon.status, full.status) == (429, 429), "40 KB, of which 30 are held whatever ends now"
    assert 0 < int(soon.headers["Retry-After"]) <= 15
    assert 4440 < int(full.headers["Retry-After"]) <= 4560, "an hour and a quarter, until the first of them ends and is swept"


def test_who_may_abort_an_upload(open_appliance: Appliance) -> None:
    """Who has what its beginner got, and nobody anything that is complete."""
    page, other = visitor(open_appliance), visitor(open_appliance)
    slot, by_key = page.request(5, "text/plain").json, open_appliance.request(5, routeSlug="drop").json
    for wrong in (
        {"fileId": slot["fileId"], "key": slot["key"] + "x"},
        {"fileId": other.request(5).json["fileId"], "key": slot["key"]},
        {"fileId": by_key["fileId"], "key": by_key["key"]},
    ):
        assert page.act("upload-abort", **wrong).code == "UPLOAD_NOT_FOUND"
    assert page.act("upload-abort", fileId=slot["fileId"]).code == "VALIDATION_ERROR"
    assert open_appliance.put(slot, b"12345", "text/plain").status == 200
    done = page.complete(slot).json
    assert page.act("upload-abort", fileId=slot["fileId"], key=slot["key"]).code == "CONFLICT"
    assert other.act("upload-abort", fileId=slot["fileId"], key=slot["key"]).code == "UPLOAD_NOT_FOUND"
    assert open_appliance.read(done["url"]).body == b"12345"


def test_an_ipv6_client_is_its_64(open_appliance: Appliance) -> None:
    pages = [visitor(open_appliance, address=f"2001:db8:0:7::{n}") for n in range(1, 5)]
    began = [page.request(1) for page in pages]
    assert [answer.status for answer in began] == [200, 200, 200, 429]
    assert visitor(open_appliance, address="2001:db8:0:8::1").request(1).status == 200


def test_requests_of_one_address_are_limited(open_appliance: Appliance) -> None:
    page = visitor(open_appliance, "https://evil.example.com")
    statuses = [page.request(1).status for _ in range(55)]
    assert statuses == [403] * 50 + [429] * 5
    assert visitor(open_appliance).upload(b"x", "text/plain").status == 200


@pytest.mark.long
def test_a_hundred_addresses_cannot_fill_the_quota(tmp_path: Path) -> None:
    """Each asks for as much as it can get and sends nothing: neither storage nor the month's uploads run out for others."""
    settings = {
        "SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]',
        "TIERS__PRO__MAX_STORAGE": "10MB",
        "TIERS__PRO__MAX_UPLOADS_PER_MONTH": "200",
    }
    with running(tmp_path, **settings) as appliance:
        rules = {"slug": "drop", "anonymousUploads": True, "allowedOrigins": [GOOD]}
        assert appliance.call("POST", f"/projects/{first_project(appliance)}/file-routes", rules).status == 201
        codes = []
        for _ in range(100):
            page = visitor(appliance)
            codes += [page.request(size) for size in (5 * 1024 * KIB, 300 * KIB, 1, 1)]
        assert {answer.code for answer in codes if answer.status != 200} == {"TIER_LIMIT_EXCEEDED"}
        usage = appliance.call("GET", "/usage").json
        assert usage["storageReserved"] <= 1024 * KIB, "a tenth of the storage"
        assert len([answer for answer in codes if answer.status == 200]) == 20, "a tenth of the month's uploads"
        assert appliance.upload(b"x" * 8 * 1024 * KIB, "a.txt", "text/plain")["status"] == "UPLOADED"
        minted = appliance.call("POST", "/upload-tokens", {"routeSlug": "default"}).json
        assert Page(appliance, minted["endpoint"]).request(100 * KIB).status == 200
        assert appliance.run("usage", "verify").returncode == 0


def test_the_project_in_the_address_says_whose_it_is(open_appliance: Appliance) -> None:
    """A outsider's file route for the same slug and origin gets nobody's uploads, and keeps nobody from making theirs."""
    mine = first_project(open_appliance)
    other = open_appliance.call("POST", "/projects", {"name": "Neighbour"}).json["id"]
    key = open_appliance.call("POST", f"/projects/{other}/keys", {"name": "n"}).json["key"]
    rules = {"slug": "drop", "anonymousUploads": True, "allowedOrigins": ["https://n.example", GOOD]}
    made = open_appliance.call("POST", f"/projects/{other}/file-routes", rules, key=key)
    assert made.status == 201, made.body
    assert made.json["anonymousEndpoint"] == f"{open_appliance.base}/api/uploadkit/p/{other}"
    for slug, endpoint in (("", made.json["anonymousEndpoint"]), ("neighbour", f"{open_appliance.base}/api/uploadkit/p/neighbour")):
        page = Page(open_appliance, endpoint, GOOD, "drop", f"10.8.0.{len(slug)}")
        preflight = open_appliance.fetch("OPTIONS", page.address, headers=page.headers)
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, GOOD)
        assert open_appliance.fetch("GET", page.address, headers=page.headers).json["maxFileCount"] == 1
        file = page.upload(b"x", "text/plain").json["file"]
        assert open_appliance.call("GET", f"/files/{file['key']}", key=key).status == 200
        assert open_appliance.call("GET", f"/files/{file['key']}").status == 404
    for endpoint in (f"{open_appliance.base}/api/uploadkit", f"{open_appliance.base}/api/uploadkit/p/{mine}"):
        file = Page(open_appliance, endpoint, GOOD, "drop", "10.8.1.1").upload(b"x", "text/plain").json["file"]
        assert open_appliance.call("GET", f"/files/{file['key']}").status == 200, "the short address is the first project's"
    short = visitor(open_appliance, "https://n.example")
    assert short.request(1).code == "FORBIDDEN"
    lost = Page(open_appliance, f"{open_appliance.base}/api/uploadkit/p/nobody", GOOD, "drop", "10.8.1.2")
    assert (lost.request(1).status, lost.request(1).code) == (404, "ROUTE_NOT_FOUND")
    assert open_appliance.call("DELETE", f"/projects/{other}").status == 200
    gone = Page(open_appliance, made.json["anonymousEndpoint"], GOOD, "drop", "10.8.1.3").request(1)
    assert (gone.code, gone.headers.get("Access-Control-Allow-Origin")) == ("ROUTE_NOT_FOUND", None)


def test_other_projects_are_told_the_long_address(open_appliance: Appliance) -> None:
    other = open_appliance.call("POST", "/projects", {"name": "Second"}).json["id"]
    rules = {"slug": "letters", "anonymousUploads": True, "allowedOrigins": [GOOD]}
    assert open_appliance.call("POST", f"/projects/{other}/file-routes", rules).status == 201
    answer = visitor(open_appliance, slug="letters").request(1)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")
    assert "/api/uploadkit/p/{projectId}" in answer.json["error"]["suggestion"]
    assert other not in answer.body.decode()


def test_what_one_address_begins_is_bounded(tmp_path: Path) -> None:
    """Init and abort in a loop frees the place each time, but leaves rows."""
    settings = {"SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]', "BROWSER__ANONYMOUS_UPLOADS_PER_HOUR": "3"}
    with running(tmp_path, **settings) as appliance:
        rules = {"slug": "drop", "anonymousUploads": True, "allowedOrigins": [GOOD]}
        assert appliance.call("POST", f"/projects/{first_project(appliance)}/file-routes", rules).status == 201
        for kind, size, ids in (("multipart-init", 11 * 1024 * KIB, ("fileId", "uploadId")), ("request-upload", 1, ("fileId", "key"))):
            page = visitor(appliance)
            for status in (200, 200, 200, 429):
                began = page.act(kind, fileName="a.mp4", contentType="video/mp4", contentLength=size)
                assert began.status == status, began.body
                if status == 200:
                    abort = kind.split("-")[0].replace("request", "upload") + "-abort"
                    assert page.act(abort, **{name: began.json[name] for name in ids}).status == 200
            assert 0 < int(began.headers["Retry-After"]) <= 3600


def test_the_log_says_whose_project_it_was(open_appliance: Appliance) -> None:
    done = visitor(open_appliance).upload(b"x", "text/plain")
    line = next(line for line in open_appliance.log().splitlines() if done.headers["X-Request-Id"] in line)
    assert f"project={first_project(open_appliance)}" in line
