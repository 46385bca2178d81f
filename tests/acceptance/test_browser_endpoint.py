"""The browser endpoint with upload tokens: what the React provider sends, and what a token is good for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import App
from tests.support.appliance import JPEG, Answer, Appliance, running
from tests.support.clock import travelled_to
from tests.support.pages import PAGE, Page
from tests.support.sdk_clients import FILE_FIELDS, xhr_put
from uploadkit.config import RateLimitsConfig
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core import clock
from uploadkit.core.sizes import MIB

NOW = 1_800_000_000_000


def token(appliance: Appliance, key: str | None = None, **more: Any) -> dict[str, Any]:
    answer = appliance.call("POST", "/upload-tokens", {"routeSlug": "default", **more}, key=key)
    assert answer.status == 201, answer.body
    return dict(answer.json)


def page(appliance: Appliance, **more: Any) -> Page:
    return Page(appliance, token(appliance, **more)["endpoint"])


@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream", ""])
def test_an_upload_as_the_react_provider_sends_it(appliance: Appliance, content_type: str) -> None:
    visitor = page(appliance)
    done = visitor.upload(content_type=content_type)
    assert done.status == 200
    assert done.json.keys() == {"ok", "file", "url"}
    assert done.json["ok"] is True
    file = done.json["file"]
    assert file.keys() == FILE_FIELDS
    assert (file["type"], file["status"]) == ("image/jpeg", "UPLOADED"), "who does not know is told"
    assert done.json["url"] == file["url"]
    assert appliance.read(done.json["url"]).body == JPEG
    again = visitor.complete({"key": file["key"], "fileId": file["id"]})
    assert (again.status, again.json) == (200, done.json)


def test_the_token_is_shown_once_and_is_for_one_page(appliance: Appliance) -> None:
    made = token(appliance, maxFiles=3, maxBytes="1KB", expiresIn=60)
    assert made["endpoint"] == f"{appliance.base}/api/uploadkit/t/{made['token']}"
    assert (made["maxFiles"], made["maxBytes"], made["environment"], made["routeSlug"]) == (3, 1024, "live", "default")


def test_what_the_browser_says_never_overrides_what_the_token_says(appliance: Appliance) -> None:
    visitor = page(appliance, metadata={"userId": "ann", "plan": {"name": "free"}})
    text = {"userId": "eve", "plan": {"name": "pro"}, "album": "x"}
    file = visitor.upload(metadata=text).json["file"]
    assert file["metadata"] == {"userId": "ann", "plan": {"name": "free"}}
    for seen in (appliance.call("GET", f"/files/{file['key']}").json, appliance.call("GET", "/files?limit=1").json["items"][0]):
        assert (seen["metadata"], seen["clientMetadata"]) == (file["metadata"], text)
    assert appliance.call("GET", "/logs?limit=1").json["items"][0]["metadata"] == file["metadata"]
    for action in ("upload-complete", "multipart-complete"):
        more = page(appliance, metadata={"userId": "ann"})
        slot = more.request().json
        xhr_put(slot["uploadUrl"], JPEG, "image/jpeg")
        more.act(action, key=slot["key"], fileId=slot["fileId"], uploadId="x", metadata={"userId": "eve"})
        assert appliance.call("GET", f"/files/by-id/{slot['fileId']}").json["metadata"] == {"userId": "ann"}


def test_the_rules_of_the_file_route(appliance: Appliance) -> None:
    project = appliance.project_id
    rules = {"slug": "pictures", "maxFileSize": "1KB", "maxFileCount": 5, "allowedTypes": ["image/*"], "verifyContent": True}
    assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
    for most, reported in ((None, 5), (2, 2), (9, 5)):
        endpoint = token(appliance, routeSlug="pictures", maxFiles=most)["endpoint"]
        answer = appliance.fetch("GET", f"{endpoint}/pictures", headers={"Origin": PAGE})
        assert answer.json == {"maxFileSize": 1024, "maxFileCount": reported, "allowedTypes": ["image/*"], "verifyContent": True}
    visitor = Page(appliance, endpoint, slug="pictures")
    assert visitor.request(2000).code == "FILE_TOO_LARGE"
    wrong = visitor.request(content_type="text/html")
    assert (wrong.status, wrong.code) == (415, "INVALID_FILE_TYPE"), "the components' word for it"
    assert visitor.request(content_type="").status == 200, "photo.jpg says what it is"
    assert visitor.act("request-upload", fileName="page.html", contentType="", contentLength=5).code == "INVALID_FILE_TYPE"
    assert appliance.fetch("GET", f"{token(appliance)['endpoint']}/default").json["maxFileSize"] == 512 * MIB, "the tier's"


def test_an_aborted_upload_gives_its_place_back(appliance: Appliance) -> None:
    visitor, other = page(appliance, maxFiles=1), page(appliance)
    slot = visitor.request().json
    ids = {"fileId": slot["fileId"], "key": slot["key"]}
    assert visitor.request().code == "FORBIDDEN"
    assert xhr_put(slot["uploadUrl"], JPEG, "image/jpeg").status == 200
    assert other.act("upload-abort", **ids).code == "UPLOAD_NOT_FOUND", "another token's"
    for _ in range(2):
        assert visitor.act("upload-abort", **ids).json == {"aborted": True}
    assert visitor.complete(slot).code == "UPLOAD_NOT_FOUND"
    event = appliance.call("GET", "/logs?limit=1").json["items"][0]
    assert (event["event"], event["fileId"]) == ("upload.aborted", slot["fileId"])
    assert visitor.upload().status == 200
    parts = page(appliance).act("multipart-init", fileName="a.mp4", contentType="video/mp4", contentLength=11 * MIB).json
    assert page(appliance).act("upload-abort", fileId=parts["fileId"], key=parts["key"]).code == "UPLOAD_NOT_FOUND"


def test_cors_with_a_token(appliance: Appliance) -> None:
    endpoint = token(appliance)["endpoint"]
    bad = f"{appliance.base}/api/uploadkit/t/ukt_{'x' * 32}"
    for origin in (PAGE, "http://localhost:5173", "null"):
        for address in (f"{endpoint}/default", f"{bad}/default", f"{endpoint}/none", f"{endpoint}/a/b"):
            asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, X-Wanted"}
            preflight = appliance.fetch("OPTIONS", address, headers={"Origin": origin, **asking})
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type, X-Wanted"
            for answer in (preflight, appliance.fetch("GET", address, headers={"Origin": origin})):
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                assert answer.headers["Vary"] == "Origin"
                assert "Access-Control-Allow-Credentials" not in answer.headers
    silent = appliance.fetch("GET", f"{endpoint}/default")
    assert (silent.status, silent.headers["Vary"]) == (200, "Origin")
    assert "Access-Control-Allow-Origin" not in silent.headers


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body
    assert "uploadUrl" not in answer.json
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE, "the page has to be able to say why"
    assert answer.json["error"]["suggestion"]


def test_a_revoked_token(appliance: Appliance) -> None:
    made = token(appliance, maxFiles=5)
    visitor = Page(appliance, made["endpoint"])
    slot = visitor.request().json
    xhr_put(slot["uploadUrl"], JPEG, "image/jpeg")
    for _ in range(2):
        assert appliance.call("DELETE", f"/upload-tokens/{made['id']}").json == {"revoked": True}
    for answer in (visitor.request(), visitor.complete(slot), appliance.fetch("GET", visitor.address, headers={"Origin": PAGE})):
        refused(answer, 401, "UNAUTHORIZED")


def test_a_token_dies_with_its_key(appliance: Appliance) -> None:
    key = appliance.new_key()
    visitor = page(appliance, key=key)
    assert visitor.request().status == 200
    key_id = next(k["id"] for k in json.loads(appliance.run("keys", "list", "--json").stdout) if key.endswith(k["maskedKey"][-6:]))
    assert appliance.call("DELETE", f"/keys/{key_id}").status == 200
    refused(visitor.request(), 401, "UNAUTHORIZED")


def test_a_token_dies_with_its_file_route_and_its_project(appliance: Appliance) -> None:
    project = appliance.call("POST", "/projects", {"name": "Short-lived"}).json
    key = appliance.call("POST", f"/projects/{project['id']}/keys", {"name": "a"}).json["key"]
    route = appliance.call("POST", f"/projects/{project['id']}/file-routes", {"slug": "gone"}).json
    of_route, of_project = (token(appliance, key=key, routeSlug=slug)["endpoint"] for slug in ("gone", "default"))
    assert Page(appliance, of_route, slug="gone").request().status == 200
    assert appliance.call("DELETE", f"/file-routes/{route['id']}").status == 200
    refused(Page(appliance, of_route, slug="gone").request(), 401, "UNAUTHORIZED")
    assert Page(appliance, of_project).request().status == 200
    assert appliance.call("DELETE", f"/projects/{project['id']}").status == 200
    refused(Page(appliance, of_project).request(), 401, "UNAUTHORIZED")


def test_a_token_is_used_up(appliance: Appliance) -> None:
    visitor = page(appliance, maxFiles=2)
    first = visitor.upload().json["file"]
    assert visitor.request().status == 200
    refused(visitor.request(), 403, "FORBIDDEN")
    appliance.call("DELETE", f"/files/{first['key']}")
    refused(visitor.request(), 403, "FORBIDDEN")
    by_size = page(appliance, maxFiles=100, maxBytes=25)
    assert [by_size.request(10).status for _ in range(3)] == [200, 200, 403]
    assert by_size.request(5).status == 200


def test_an_aborted_multipart_gives_its_place_back(appliance: Appliance) -> None:
    visitor = page(appliance, maxFiles=1)
    for _ in range(3):
        began = visitor.act("multipart-init", fileName="a.mp4", contentType="video/mp4", fileSize=11 * MIB)
        assert began.status == 200, began.body
        refused(visitor.request(), 403, "FORBIDDEN")
        ids = {"fileId": began.json["fileId"], "uploadId": began.json["uploadId"]}
        assert visitor.act("multipart-abort", **ids).json == {"aborted": True}


def test_a_lost_answer_does_not_use_up_a_token(appliance: Appliance) -> None:
    visitor = page(appliance, maxFiles=1)
    first, again = (visitor.request(idempotencyKey="one") for _ in range(2))
    assert (first.status, again.status) == (200, 200), again.body
    assert again.json["fileId"] == first.json["fileId"]
    assert visitor.request(content_type="image/png", idempotencyKey="one").code == "IDEMPOTENCY_CONFLICT"
    refused(visitor.request(idempotencyKey="two"), 403, "FORBIDDEN")
    assert page(appliance).request(idempotencyKey="one").json["fileId"] != first.json["fileId"], "each token has keys of its own"
    xhr_put(again.json["uploadUrl"], JPEG, "image/jpeg")
    assert visitor.complete(again.json).status == 200
    other = page(appliance, maxFiles=1)
    begin = {"fileName": "a.mp4", "contentType": "video/mp4", "contentLength": 11 * MIB, "idempotencyKey": "one"}
    first, again = (other.act("multipart-init", **begin) for _ in range(2))
    assert again.json["uploadId"] == first.json["uploadId"]
    assert other.request(idempotencyKey="").code == "VALIDATION_ERROR"


def test_a_token_for_another_file_route(appliance: Appliance) -> None:
    endpoint = token(appliance)["endpoint"]
    for slug in ("pictures", "nowhere", "Default"):
        refused(Page(appliance, endpoint, slug=slug).request(), 404, "ROUTE_NOT_FOUND")
    assert appliance.call("POST", "/upload-tokens", {"routeSlug": "nowhere"}).code == "NOT_FOUND"


def test_a_token_for_another_environment(appliance: Appliance, test_key: str) -> None:
    live, sandbox = page(appliance, maxFiles=5), page(appliance, maxFiles=5, key=test_key)
    file = sandbox.upload().json["file"]
    assert file["key"].startswith("test/")
    assert appliance.call("GET", f"/files/{file['key']}").status == 404
    assert appliance.call("GET", f"/files/{file['key']}", key=test_key).json["environment"] == "test"
    for mine, others in ((live, sandbox), (sandbox, live)):
        slot = mine.request().json
        xhr_put(slot["uploadUrl"], JPEG, "image/jpeg")
        refused(others.complete(slot), 404, "UPLOAD_NOT_FOUND")
        assert mine.complete(slot).status == 200
        refused(others.complete(slot), 404, "UPLOAD_NOT_FOUND")


def test_a_token_knows_only_what_it_began(appliance: Appliance) -> None:
    """Not even what another token of the same key and file route did, nor what the key itself did."""
    visitor, other = page(appliance, maxFiles=5), page(appliance, maxFiles=5)
    big = visitor.act("multipart-init", fileName="a.mp4", contentType="video/mp4", fileSize=11 * MIB).json
    ids = {"fileId": big["fileId"], "uploadId": big["uploadId"]}
    for action in ("multipart-parts", "multipart-complete", "multipart-abort"):
        refused(other.act(action, **ids), 404, "UPLOAD_NOT_FOUND")
    by_key = appliance.request(len(JPEG)).json
    appliance.put(by_key, JPEG)
    refused(visitor.complete(by_key), 404, "UPLOAD_NOT_FOUND")
    own = visitor.request().json
    refused(visitor.complete(own | {"key": by_key["key"]}), 404, "UPLOAD_NOT_FOUND")
    assert visitor.act("multipart-parts", **ids).status == 200
    assert appliance.call("POST", "/upload/multipart/abort", ids).status == 200, "its project's key may"


def test_multipart_with_a_resume(appliance: Appliance) -> None:
    visitor = page(appliance)
    content = bytes(11 * MIB)
    began = visitor.act("multipart-init", fileName="a.mp4", contentType="video/mp4", fileSize=len(content)).json
    assert began.keys() == {"fileId", "uploadId", "key", "partSize", "parts", "expiresAt"}
    ids = {"fileId": began["fileId"], "uploadId": began["uploadId"]}
    assert xhr_put(began["parts"][0]["uploadUrl"], content[: began["partSize"]], "video/mp4").status == 200
    state = visitor.act("multipart-parts", **ids).json
    assert [part["partNumber"] for part in state["uploaded"]] == [1]
    for part in state["parts"]:
        start = (part["partNumber"] - 1) * state["partSize"]
        assert xhr_put(part["uploadUrl"], content[start : start + state["partSize"]], "video/mp4").status == 200
    done = visitor.act("multipart-complete", **ids).json
    assert done["ok"] is True
    assert (done["file"]["size"], done["fileSize"], done["url"]) == (len(content), len(content), done["file"]["url"])
    assert visitor.act("multipart-abort", **ids).code == "CONFLICT"
    assert appliance.read(done["url"]).status == 200


WRONG = {
    "no action": (b"{}", "VALIDATION_ERROR"),
    "another action": (b'{"action":"delete"}', "VALIDATION_ERROR"),
    "an action that is no text": (b'{"action":["request-upload"]}', "VALIDATION_ERROR"),
    "no fields": (b'{"action":"request-upload"}', "VALIDATION_ERROR"),
    "no JSON": (b"{", "VALIDATION_ERROR"),
    "a list": (b"[]", "VALIDATION_ERROR"),
    "no size": (b'{"action":"request-upload","fileName":"a","contentType":"a/b","contentLength":0}', "VALIDATION_ERROR"),
    "no type": (b'{"action":"request-upload","fileName":"a","contentType":"a","contentLength":1}', "VALIDATION_ERROR"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_bodies(appliance: Appliance, name: str) -> None:
    body, code = WRONG[name]
    headers = {"Origin": PAGE, "Content-Type": "application/json"}
    answer = appliance.fetch("POST", f"{token(appliance)['endpoint']}/default", body, headers)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_only_json_and_only_get_and_post(appliance: Appliance) -> None:
    address = f"{token(appliance)['endpoint']}/default"
    assert appliance.fetch("POST", address, b"{}", {"Content-Type": "text/plain"}).code == "UNSUPPORTED_MEDIA_TYPE"
    for method in ("PUT", "DELETE", "PATCH"):
        assert appliance.fetch(method, address).code == "METHOD_NOT_ALLOWED"
    lost = appliance.fetch("GET", f"{appliance.base}/api/uploadkit", headers={"Accept": "text/html"})
    assert (lost.status, lost.code) == (404, "NOT_FOUND")


def test_no_token_is_ever_in_the_log_or_in_an_answer(appliance: Appliance) -> None:
    made = token(appliance)
    secret = made["token"].removeprefix("ukt_")
    visitor = Page(appliance, made["endpoint"])
    answers = [visitor.upload(), visitor.request(), visitor.act("nonsense")]
    for path in (f"/api/uploadkit/t/{made['token']}", f"//api/uploadkit/t/{made['token']}/default/", f"/t/{made['token']}?{made['token']}"):
        for accept in ("application/json", "text/html"):
            answers += [appliance.fetch(method, f"{appliance.base}{path}", headers={"Accept": accept}) for method in ("GET", "DELETE")]
    answers.append(appliance.call("DELETE", f"/upload-tokens/{made['id']}"))
    answers += [visitor.request(), appliance.fetch("GET", f"{appliance.base}/api/uploadkit/{made['token']}")]
    assert not [answer.body for answer in answers if secret.encode() in answer.body]
    assert secret not in appliance.log()
    assert "ukt_..." in appliance.log()


def test_plain_http_is_refused_and_the_token_not_looked_at(tmp_path: Path) -> None:
    with running(tmp_path, SERVER__PUBLIC_URL="http://uploads.example.com", SERVER__TRUSTED_PROXIES='["127.0.0.0/8"]') as appliance:
        by_tls = {"X-Forwarded-Proto": "https"}
        made = appliance.call("POST", "/upload-tokens", {"routeSlug": "default"}, headers=by_tls).json
        assert made["endpoint"] == f"http://uploads.example.com/api/uploadkit/t/{made['token']}"
        address = f"{appliance.base}/api/uploadkit/t/{made['token']}/default"
        assert appliance.fetch("GET", address, headers={"Origin": PAGE}).code == "HTTPS_REQUIRED"
        assert appliance.fetch("GET", f"{appliance.base}/api/uploadkit/none", headers={"Origin": PAGE}).code == "HTTPS_REQUIRED"
        assert appliance.fetch("GET", f"{appliance.base}/sdk/api/v1/files").code == "HTTPS_REQUIRED"
        assert appliance.fetch("GET", address, headers=by_tls).status == 200


# The clock in the tests' own hands, so in one process.


def issue(app: App, **more: Any) -> str:
    answer = app.client().post("/api/v1/upload-tokens", json={"routeSlug": "default", **more})
    return f"/api/uploadkit/t/{answer.json['token']}/default"


NEW = {"action": "request-upload", "fileName": "a.jpg", "contentType": "image/jpeg", "contentLength": len(JPEG)}


def test_an_expired_token_begins_nothing_but_finishes_what_it_began(app: App) -> None:
    surface = app.client()
    with travelled_to(clock.now_ms()) as advance:
        address = issue(app, expiresIn=60, maxFiles=5)
        slot = surface.post(address, json=NEW).json
        assert xhr_put(slot["uploadUrl"], JPEG, "image/jpeg").status == 200
        advance(59_999)
        assert surface.get(address).status_code == 200
        assert surface.post(address, json=NEW).status_code == 200
        advance(1)
        for answer in (surface.get(address), surface.post(address, json=NEW)):
            assert (answer.status_code, answer.json["error"]["code"]) == (401, "UNAUTHORIZED")
        begin = NEW | {"action": "multipart-init", "contentLength": 11 * MIB}
        assert surface.post(address, json=begin).status_code == 401
        done = surface.post(address, json={"action": "upload-complete", "fileId": slot["fileId"], "key": slot["key"]})
        assert (done.status_code, done.json["file"]["status"]) == (200, "UPLOADED")


def test_requests_are_limited_by_token(app: App) -> None:
    surface = app.client()
    with travelled_to(NOW):
        one, other = issue(app), issue(app)
        assert {surface.get(one).status_code for _ in range(app.ctx.config.browser.requests_per_minute or 0)} == {200}
        limited = surface.get(one)
        assert (limited.status_code, limited.json["error"]["code"]) == (429, "RATE_LIMITED")
        assert limited.headers["Retry-After"] == "60"
        assert surface.get(other).status_code == 200


def test_wrong_tokens_are_limited_by_address(app: App) -> None:
    surface = app.client(RateLimits(RateLimitsConfig(auth_failures_per_minute=3)))
    wrong = f"/api/uploadkit/t/ukt_{'x' * 32}/default"
    with travelled_to(NOW):
        assert [surface.get(wrong).status_code for _ in range(4)] == [401, 401, 401, 429]
        assert surface.get(issue(app)).status_code == 200


def test_an_api_key_in_the_path_is_refused_and_not_logged(appliance: Appliance) -> None:
    for path in (f"/api/uploadkit/t/{appliance.key}/default", f"/api/v1/{appliance.key}"):
        assert appliance.fetch("POST", appliance.base + path, b"{}", {"Content-Type": "application/json"}).status in (401, 404)
    assert appliance.key not in appliance.log()
    assert "uk_live_..." in appliance.log()


def test_a_token_for_several_file_routes(appliance: Appliance, test_key: str, outsider_key: str) -> None:
    """An app has one provider and many file routes; who has the token has those, no others."""
    project = appliance.project_id
    for slug in ("avatars6", "gallery6", "hidden6"):
        rules = {"slug": slug, "allowedTypes": ["image/*"], "maxFileCount": 3}
        assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
    asked = {"routeSlugs": ["avatars6", "gallery6"]}
    made = appliance.call("POST", "/upload-tokens", {**asked, "maxFiles": 2}).json
    assert (made["routeSlug"], made["routeSlugs"], made["maxFiles"]) == ("avatars6", ["avatars6", "gallery6"], 2)
    pages = {slug: Page(appliance, made["endpoint"], slug=slug) for slug in ("avatars6", "gallery6", "hidden6", "default")}
    for slug in ("hidden6", "default"):
        refused(pages[slug].request(), 404, "ROUTE_NOT_FOUND")
    for slug in ("avatars6", "gallery6"):
        assert appliance.fetch("GET", pages[slug].address).json["maxFileCount"] == 2
        file = pages[slug].upload().json["file"]
        assert appliance.call("GET", f"/files/{file['key']}").json["routeSlug"] == slug
    refused(pages["avatars6"].request(), 403, "FORBIDDEN")
    assert appliance.call("POST", "/upload-tokens", asked).json["maxFiles"] == 6, "those of both added up"
    for key, status in ((test_key, 201), (outsider_key, 404), ("", 401)):
        assert appliance.call("POST", "/upload-tokens", asked, key=key).status == status
    for body in (
        {},
        {"routeSlug": "default", **asked},
        {"routeSlugs": []},
        {"routeSlugs": ["default"] * 21},
        {"routeSlugs": ["", "default"]},
    ):
        answer = appliance.call("POST", "/upload-tokens", body)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), body


def test_one_idempotency_key_at_two_file_routes_is_two_uploads(appliance: Appliance) -> None:
    project = appliance.project_id
    assert appliance.call("POST", f"/projects/{project}/file-routes", {"slug": "twin6"}).status == 201
    endpoint = token(appliance, routeSlug=None, routeSlugs=["default", "twin6"], maxFiles=5)["endpoint"]
    pages = [Page(appliance, endpoint, slug=slug) for slug in ("default", "twin6")]
    first, other = (page.request(idempotencyKey="same").json["fileId"] for page in pages)
    assert first != other
    assert pages[0].request(idempotencyKey="same").json["fileId"] == first


@pytest.mark.parametrize("content_type", ["image/jpeg", ""])
def test_a_slot_names_only_headers_that_a_page_can_set(appliance: Appliance, content_type: str) -> None:
    assert page(appliance).request(content_type=content_type).json["headers"] == ({"Content-Type": content_type} if content_type else {})
    assert appliance.request(len(JPEG)).json["headers"] == {"Content-Type": "image/jpeg", "Content-Length": str(len(JPEG))}


def test_metadata_of_null_is_none(appliance: Appliance) -> None:
    visitor = page(appliance, metadata={"userId": "ann"})
    file = visitor.upload(metadata=None).json["file"]
    assert appliance.call("GET", f"/files/{file['key']}").json["clientMetadata"] == {}
    assert file["metadata"] == {"userId": "ann"}
    big = {"fileName": "a.mp4", "contentType": "video/mp4", "fileSize": 11 * MIB, "metadata": None}
    assert page(appliance).act("multipart-init", **big).status == 200


def test_completing_before_the_file_is_there_ends_nothing(appliance: Appliance) -> None:
    visitor = page(appliance, maxFiles=1)
    slot = visitor.request().json
    early = visitor.complete(slot)
    assert (early.status, early.code) == (422, "UPLOAD_NOT_VERIFIED")
    assert "complete again" in early.json["error"]["suggestion"]
    assert xhr_put(slot["uploadUrl"], JPEG, "image/jpeg").status == 200
    assert visitor.complete(slot).status == 200


def test_a_refused_upload_gives_its_place_back(appliance: Appliance) -> None:
    visitor = page(appliance, maxFiles=1)
    slot = visitor.request(9, "image/jpeg").json
    assert xhr_put(slot["uploadUrl"], b"%PDF-1.7\n", "image/jpeg").status == 200
    assert visitor.complete(slot).code == "UPLOAD_NOT_VERIFIED"
    assert visitor.upload().status == 200
    refused(visitor.request(), 403, "FORBIDDEN")
