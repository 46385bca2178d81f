"""File routes over HTTP: their rules, what is refused, and that uploads follow them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.appliance import JPEG, Appliance

DEFAULTS = {
    "maxFileSize": None,
    "maxFileCount": 1,
    "allowedTypes": ["*/*"],
    "visibility": "public",
    "webhookUrl": None,
    "webhookEvents": ["onUploadComplete"],
    "verifyContent": True,
    "anonymousUploads": False,
    "allowedOrigins": [],
}
# As wrapped apps, extensions and editors send them.
APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "http://tauri.localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://3f9d8c1e-6a52-4e1b-9d0a-7c5b2e8f4a61",
    "app://obsidian.md",
    "vscode-webview://0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z",
    "https://[::1]:8443",
]


class Place:
    """A project of the test's own, and a key of it."""

    def __init__(self, appliance: Appliance) -> None:
        self.project = appliance.call("POST", "/projects", {"name": "Routes"}).json["id"]
        self.path = f"/projects/{self.project}/file-routes"
        self.key = appliance.call("POST", f"/projects/{self.project}/keys", {"name": "x"}).json["key"]


@pytest.fixture
def place(appliance: Appliance) -> Place:
    return Place(appliance)


def test_defaults(appliance: Appliance, place: Place) -> None:
    made = appliance.call("POST", place.path, {"slug": "avatars"}, key=place.key)
    assert made.status == 201
    route = made.json
    assert route == {
        "id": route["id"],
        "projectId": place.project,
        "slug": "avatars",
        **DEFAULTS,
        "anonymousEndpoint": None,
        "createdAt": route["createdAt"],
        "updatedAt": route["createdAt"],
    }
    assert appliance.call("GET", f"/file-routes/{route['id']}", key=place.key).json == route
    assert [r["slug"] for r in appliance.call("GET", place.path).json["items"]] == ["avatars", "default"]
    page = appliance.call("GET", f"{place.path}?limit=1").json
    assert page["hasMore"]
    assert appliance.call("GET", f"{place.path}?limit=1&cursor={page['nextCursor']}").json["items"][0]["slug"] == "default"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"maxFileSize": 1}, {}),
        ({"maxFileSize": "4MB"}, {"maxFileSize": 4 * 1024**2}),
        ({"maxFileSize": "10 kb"}, {"maxFileSize": 10 * 1024}),
        ({"maxFileSize": 5.0}, {"maxFileSize": 5}),
        ({"maxFileCount": 20}, {}),
        ({"allowedTypes": ["image/*", "Application/PDF"]}, {"allowedTypes": ["image/*", "application/pdf"]}),
        ({"visibility": "private"}, {}),
        ({"webhookUrl": "https://example.com:8443/hooks/a?b=c"}, {}),
        ({"webhookUrl": "http://[2606:4700:4700::1111]:9000"}, {}),
        ({"webhookEvents": ["file.deleted", "file.failed"]}, {}),
        ({"webhookEvents": []}, {}),
        ({"verifyContent": False}, {}),
        (
            {"anonymousUploads": True, "allowedOrigins": ["https://App.example.com:443", "http://localhost:3000"]},
            {"allowedOrigins": ["https://app.example.com", "http://localhost:3000"]},
        ),
        ({"allowedOrigins": APPS}, {}),
    ],
)
def test_rules(appliance: Appliance, place: Place, given: dict[str, Any], kept: dict[str, Any]) -> None:
    made = appliance.call("POST", place.path, {"slug": "x", **given}).json
    assert made == made | DEFAULTS | given | kept
    plain = appliance.call("POST", place.path, {"slug": "y"}).json
    changed = appliance.call("PATCH", f"/file-routes/{plain['id']}", given).json
    where = f"{appliance.base}/api/uploadkit/p/{place.project}" if given.get("anonymousUploads") else None
    assert changed == plain | given | kept | {"updatedAt": changed["updatedAt"], "anonymousEndpoint": where}
    assert appliance.call("GET", f"/file-routes/{plain['id']}").json == changed


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "slug"),
        *(({"slug": slug}, "slug") for slug in ("", "1a", "-a", "a b", "a/b", "ä", "a\n", "a" * 101, None, 5)),
        *(({"slug": "x", "maxFileSize": size}, "maxFileSize") for size in (0, -1, "0MB", "4 megabytes", "", True, 1.5, 2**53)),
        *(({"slug": "x", "maxFileCount": count}, "maxFileCount") for count in (0, 1001, "1", None)),
        *(({"slug": "x", "allowedTypes": [kind]}, "allowedTypes.0") for kind in ("image", "*/png", "image/png; q=1", "", "a b/c", 5)),
        ({"slug": "x", "allowedTypes": []}, "allowedTypes"),
        ({"slug": "x", "allowedTypes": "image/*"}, "allowedTypes"),
        ({"slug": "x", "visibility": "secret"}, "visibility"),
        *(
            ({"slug": "x", "webhookUrl": url}, "webhookUrl")
            for url in (
                "ftp://example.com",
                "example.com",
                "https://",
                "https://u:p@example.com",
                "https://a b/",
                "https://a:99999/",
                "http://a/#b",
                "http://[::::]/",
                "javascript:alert(1)",
                "https://ex\nample.com",
                "http://localhost:3000/hook",
                "http://127.0.0.1/",
                "http://0x7f.1/",
                "http://2130706433/",
                "http://[::ffff:127.0.0.1]/",
                "http://192.168.1.20/",
                "http://169.254.169.254/latest/meta-data/",
                "https://example.com./",
                "https://example.com:0/",
            )
        ),
        ({"slug": "x", "webhookEvents": ["onEverything"]}, "webhookEvents.0"),
        *(
            ({"slug": "x", "allowedOrigins": [origin]}, "allowedOrigins.0")
            for origin in (
                "*",
                "null",
                "https://example.com/",
                "example.com",
                "https://*.example.com",
                "1x://a",
                "https://a:0",
                "app:",
                "file://",
                "app://a?b",
                "a://[::::]",
                "x" * 40 + "://a",
            )
        ),
        ({"slug": "x", "verifyContent": 1}, "verifyContent"),
        ({"slug": "x", "anonymousUploads": "yes"}, "anonymousUploads"),
    ],
)
def test_what_is_refused_names_the_field(appliance: Appliance, place: Place, body: dict[str, Any], field: str) -> None:
    answer = appliance.call("POST", place.path, body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), answer.body
    assert list(answer.json["error"]["details"]) == [field]


def test_a_slug_is_taken_once_per_project(appliance: Appliance, place: Place) -> None:
    first = appliance.call("POST", place.path, {"slug": "a"}).json
    again = appliance.call("POST", place.path, {"slug": "a"})
    assert (again.status, again.code) == (409, "DUPLICATE_SLUG")
    assert appliance.call("POST", place.path, {"slug": "A"}).status == 201, "case counts"
    other = Place(appliance)
    assert appliance.call("POST", other.path, {"slug": "a"}).status == 201
    second = appliance.call("POST", place.path, {"slug": "b"}).json
    taken = appliance.call("PATCH", f"/file-routes/{second['id']}", {"slug": "a"})
    assert (taken.status, taken.code) == (409, "DUPLICATE_SLUG")
    assert appliance.call("PATCH", f"/file-routes/{second['id']}", {"slug": "c"}).json["slug"] == "c"
    assert appliance.call("DELETE", f"/file-routes/{first['id']}").json == {"deleted": True}
    assert appliance.call("POST", place.path, {"slug": "a"}).status == 201


def test_repeated_with_an_idempotency_key(appliance: Appliance, place: Place) -> None:
    headers = {"Idempotency-Key": "1"}
    first = appliance.call("POST", place.path, {"slug": "a"}, headers=headers)
    again = appliance.call("POST", place.path, {"slug": "a"}, headers=headers)
    assert (first.status, again.status, again.json) == (201, 201, first.json)


def test_default_stays(appliance: Appliance, place: Place) -> None:
    (route,) = appliance.call("GET", place.path).json["items"]
    for method, body in (("DELETE", None), ("PATCH", {"slug": "other"})):
        refused = appliance.call(method, f"/file-routes/{route['id']}", body)
        assert (refused.status, refused.code) == (409, "CONFLICT")
        assert refused.json["error"]["suggestion"]
    assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"slug": "default", "maxFileSize": 10}).json["maxFileSize"] == 10
    assert appliance.request(11, key=place.key).code == "FILE_TOO_LARGE"


def test_uploads_follow_the_rules_and_files_outlive_them(appliance: Appliance, place: Place) -> None:
    rules = {"slug": "pics", "maxFileSize": len(JPEG), "allowedTypes": ["image/*"]}
    route = appliance.call("POST", place.path, rules, key=place.key).json
    large = appliance.request(len(JPEG) + 1, routeSlug="pics", key=place.key)
    assert (large.status, large.code) == (413, "FILE_TOO_LARGE")
    assert "maxFileSize" in large.json["error"]["suggestion"]
    wrong = appliance.request(5, "a.pdf", "application/pdf", routeSlug="pics", key=place.key)
    assert (wrong.status, wrong.code) == (415, "FILE_TYPE_NOT_ALLOWED")
    file = appliance.upload(JPEG, routeSlug="pics", key=place.key)
    under_way = appliance.request(len(JPEG), routeSlug="pics", key=place.key).json
    appliance.call("PATCH", f"/file-routes/{route['id']}", {"visibility": "private", "maxFileSize": 1}, key=place.key)
    assert appliance.read(file["url"]).body == JPEG, "it was public when it was uploaded"
    appliance.call("DELETE", f"/file-routes/{route['id']}", key=place.key)
    assert appliance.call("GET", f"/files/{file['key']}", key=place.key).json == file
    assert appliance.put(under_way, JPEG).status == 200
    assert appliance.complete(under_way, key=place.key).status == 200
    gone = appliance.request(5, routeSlug="pics", key=place.key)
    assert (gone.status, gone.code) == (404, "NOT_FOUND")
