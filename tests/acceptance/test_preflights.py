"""What browsers are told before they ask, and where they are sent: at our endpoints, at `/f/`, at signed links."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.appliance import JPEG, Answer, Appliance

PAGE = "https://app.example.com"
TRACED = ("baggage", "newrelic", "sentry-trace", "traceparent", "tracestate", "x-datadog-trace-id", "x-requested-with")


def preflight(appliance: Appliance, url: str, asked: str, method: str = "POST") -> Answer:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
    return appliance.fetch("OPTIONS", url, headers=headers)


def allowed(headers: Mapping[str, str]) -> set[str]:
    return {name.strip().lower() for name in headers.get("Access-Control-Allow-Headers", "").split(",")}


@pytest.fixture
def surfaces(appliance: Appliance) -> dict[str, str]:
    token = appliance.call("POST", "/upload-tokens", {"routeSlug": "default"}).json["endpoint"]
    file = appliance.upload(JPEG)
    link = appliance.call("POST", f"/files/{file['key']}/link", {}).json["url"]
    return {
        "API": f"{appliance.base}/api/v1/files",
        "SDK": f"{appliance.base}/sdk/api/v1/upload/request",
        "browser": f"{token}/default",
        "file": file["url"],
        "link": link,
        "no file": f"{appliance.base}/f/nowhere",
    }


def test_a_page_may_send_what_its_tracing_adds(appliance: Appliance, surfaces: dict[str, str]) -> None:
    for surface, url in surfaces.items():
        for asked in (TRACED, ("authorization", *TRACED)):
            answer = preflight(appliance, url, ",".join(asked), "GET")
            assert answer.status == 204, surface
            assert set(asked) <= allowed(answer.headers), surface
            assert answer.headers["Access-Control-Allow-Origin"] in ("*", PAGE)
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "GET" in answer.headers["Access-Control-Allow-Methods"]
            assert int(answer.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "asked",
    [
        "a b",
        "x-é",
        "x\x0bset-cookie",
        "a,,b",
        ":",
        "x" * 101,
        ",".join(f"x{number}" for number in range(65)),
        ",".join(["x" * 99] * 30),
        "",
    ],
    ids=lambda asked: asked[:12],
)
def test_only_names_are_echoed_and_not_too_many(appliance: Appliance, surfaces: dict[str, str], asked: str) -> None:
    for surface, url in surfaces.items():
        answer = preflight(appliance, url, asked)
        if answer.status == 400:  # the server itself refuses such a header
            continue
        plain = preflight(appliance, url, "x-one")
        assert answer.status == 204, surface
        assert allowed(answer.headers) == (allowed(plain.headers) - {"x-one"} or {""}), surface


def test_a_failure_can_be_read_by_pages_as_well(appliance: Appliance, surfaces: dict[str, str]) -> None:
    answer = appliance.fetch("GET", surfaces["no file"], headers={"Origin": PAGE})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, "*")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_script_is_sent_to_another_url_than_an_image(appliance: Appliance, surfaces: dict[str, str], method: str) -> None:
    """What a browser has kept from a store without `Vary: Origin` for the one would be refused to the other."""
    for url in (surfaces["file"], surfaces["link"]):
        plain = appliance.fetch(method, url)
        for origin in (PAGE, "null"):
            by_script = appliance.fetch(method, url, headers={"Origin": origin})
            for answer in (plain, by_script):
                assert (answer.status, answer.headers["Vary"], answer.headers["Access-Control-Allow-Origin"]) == (302, "Origin", "*")
            queries = [parse_qs(urlsplit(answer.headers["Location"]).query) for answer in (plain, by_script)]
            assert [query.get("x-id") for query in queries] == [None, [f"{method.capitalize()}Object"]]
            assert appliance.fetch(method, by_script.headers["Location"]).status == 200
