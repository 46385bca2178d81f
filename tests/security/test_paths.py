"""`/f/…` and `/files/…`: a key is one thing only, however it is written, and leads to nothing but itself."""

from __future__ import annotations

import socket
from urllib.parse import quote

import pytest

from tests.support.appliance import JPEG, Appliance

# What somebody might hope to be taken for the key of a file (K), or for something outside of it.
DISGUISES = [
    "/K",
    "K/",
    "./K",
    "K/.",
    "x/../K",
    "K/../../..",
    "..%2fK",
    "%2e/K",
    "x/%2e%2e/K",
    "..;/K",
    "\\K",
    "%5cK",
    "K%00",
    "K%00.png",
    "%00K",
    "K%20",
    "%20K",
    "K%0d%0ax-a:%20b",
    "K;a=b",
    "K%3fa=b",
    "K%23a",
    "%ef%bb%bfK",
    "test/K",
    "pending/I",
    "K/link",
    "../healthz",
    "..%2f..%2fdashboard",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/",
    "*",
    "%",
    "%2",
    "%zz",
]


def get(appliance: Appliance, target: str, key: str = "") -> bytes:
    """The answer to GET with a target that no client may put in order first."""
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + (f"x-api-key: {key}\r\n" if key else "")
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n".encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def written_otherwise(key: str) -> list[str]:
    """The same characters in other code points, letters and encodings."""
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in key)
    return [
        key.upper(),
        quote(wide),
        quote(key.replace(".", "\u2024")),
        quote(key.replace("/", "\u2215")),
        quote(key.replace("a", "a\u0301")),
    ]


def test_a_key_has_one_reading(appliance: Appliance) -> None:
    file = appliance.upload(JPEG, "a.jpg")
    key, file_id = file["key"], file["id"]
    for surface in ("/f/", "/api/v1/files/", "/sdk/api/v1/files/"):
        for same in (key, quote(key, safe=""), quote(key, safe="").replace("%2F", "%2f"), "".join(f"%{ord(c):02x}" for c in key)):
            assert get(appliance, surface + same, appliance.key)[9:12] in (b"200", b"302"), (surface, same)
        twice = quote(quote(key, safe=""), safe="")
        for other in [twice, *written_otherwise(key), *(d.replace("K", key).replace("I", file_id) for d in DISGUISES)]:
            text = get(appliance, surface + other, appliance.key)
            assert text[9:12] in (b"400", b"404"), (surface, other, text[:200])
            assert b"root:" not in text
            assert file["etag"].encode() not in text


def test_nobody_reads_by_path_what_is_not_theirs(appliance: Appliance, outsider_key: str, test_key: str) -> None:
    mine, tested = appliance.upload(JPEG), appliance.upload(JPEG, key=test_key)
    projects = appliance.call("GET", "/projects").json["items"]
    other_id = next(project["id"] for project in projects if project["slug"] == "outsiders")
    mine_id, _, rest = mine["key"].partition("/")
    attempts = [
        mine["key"],
        f"{other_id}/{rest}",
        f"{other_id}/../{mine['key']}",
        f"{other_id}/%2e%2e/{mine['key']}",
        f"test/{mine['key']}",
    ]
    attempts += [
        tested["key"],
        tested["key"].removeprefix("test/"),
        f"{mine_id}/default/{mine['id']}",
        f"by-id/{mine['id']}",
        f"by-id/../{mine['key']}",
    ]
    for attempt in attempts:
        for surface in ("/api/v1/files/", "/sdk/api/v1/files/"):
            assert get(appliance, surface + attempt, outsider_key)[9:12] == b"404", attempt
            for method in ("PATCH", "DELETE"):
                answer = appliance.fetch(
                    method,
                    f"{appliance.base}{surface}{attempt}",
                    b'{"metadata":{}}',
                    {"x-api-key": outsider_key, "Content-Type": "application/json"},
                )
                assert answer.status == 404, (method, attempt)
    answer = appliance.call("DELETE", "/files", {"keys": attempts}, key=outsider_key)
    assert (answer.status, answer.json["deleted"]) == (404, 0)
    assert appliance.call("GET", f"/files/{mine['key']}").json["metadata"] == {}


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "..\\..\\windows",
        "a/b/c.jpg",
        ".htaccess",
        "-rf",
        "con.jpg",
        'a"; filename="evil.exe',
        "a; filename*=UTF-8''evil.exe",
        "a\u2028b\u202egpj.exe",
        "%2e%2e%2f%0d%0aSet-Cookie: a=b.jpg",
        "<script>alert(1)</script>.jpg",
        "${jndi:ldap://x}{{7*7}}.jpg",
        "' OR 1=1 --.jpg",
        "é" * 120,
        "\U0001f4a9.jpg",
    ],
)
def test_a_file_name_is_a_name_and_nothing_else(appliance: Appliance, name: str) -> None:
    file = appliance.upload(JPEG, name)
    assert file["fileName"] == name
    safe = file["key"].rpartition("/")[2]
    assert file["key"].count("/") == 3
    assert safe.isascii()
    assert not safe.startswith((".", "-"))
    assert not set(safe) & set("/\\\"'<>%;:${} \r\n")
    got = appliance.read(file["url"])
    assert got.body == JPEG
    assert "Set-Cookie" not in got.headers
    rendered = got.headers["Content-Disposition"]
    assert rendered.isascii()
    assert rendered.isprintable()
    assert rendered.startswith("inline; filename=")
    assert rendered.count('"') == 2, "nothing ends the quoted name but its end"
    assert rendered.count("filename*=") == (2 if "filename*=" in rendered.partition('"')[2].partition('"')[0] else 1)
    assert rendered.rpartition("filename*=UTF-8''")[2] == quote(name, safe="!#$&+-.^_`|~")


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: b=c", "a\x00b", "a\x1b[2J", "a\x7f", "a\x85b"])
def test_a_file_name_of_control_characters_is_refused(appliance: Appliance, name: str) -> None:
    answer = appliance.request(5, name)
    assert (answer.status, list(answer.json["error"]["details"])) == (400, ["fileName"])


@pytest.mark.parametrize("slug", ["../x", "a/b", "a b", "a%2fb", "é", "a\n", "A" * 101, "", ".", "__proto__\x00"])
def test_a_slug_can_not_lead_elsewhere(appliance: Appliance, slug: str) -> None:
    project = appliance.project_id
    made = appliance.call("POST", f"/projects/{project}/file-routes", {"slug": slug})
    assert (made.status, list(made.json["error"]["details"])) == (400, ["slug"])
    assert appliance.request(5, routeSlug=slug).status in (400, 404)


def test_what_is_signed_for_one_key_is_signed_for_no_other(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    url = slot["uploadUrl"]
    for changed in (
        url.replace("/pending/", "/"),
        url.replace("/pending/", "/pending/../"),
        url.replace("/pending/", "/pending/%2e%2e/"),
        url.replace("/pending/", "/pending//"),
        url.replace(f"pending/{slot['fileId']}", slot["key"]),
        url.replace("?", "/x?"),
        url + "&partNumber=1&uploadId=x",
        url + "&acl",
    ):
        assert changed != url
        assert appliance.fetch("PUT", changed, JPEG, {"Content-Type": "image/jpeg"}).status >= 400, changed
    assert appliance.fetch("GET", url).status >= 400
    assert appliance.fetch("DELETE", url).status >= 400
    assert appliance.put(slot, JPEG).status == 200
