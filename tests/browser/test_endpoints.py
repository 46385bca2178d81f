"""What `endpoint` of `createUploader` is asked for: each file, or all that wait, and one token for several file routes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import endpoint, served
from tests.browser.scaled import module
from tests.support.appliance import Appliance
from tests.support.browsers import Watched

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
import { createUploader } from "./uploadkit.js";
window.run = async (answers, routes, options) => {
  window.asked = [];
  const uploader = createUploader({ ...options, endpoint: async (what) => {
    asked.push(what);
    const answer = answers[Math.min(asked.length, answers.length) - 1];
    return answer.startsWith("http") ? answer : new Response("Later", { status: Number(answer), headers: { "Retry-After": "1" } });
  } });
  const upload = (route, at) => uploader.upload(new File([`file ${at}`], `${at}.txt`), route ? { route } : {});
  const ends = await Promise.allSettled(routes.map(upload));
  return ends.map(({ value, reason }) => value?.key.split("/")[1] ?? reason.code);
};
window.ready = true;
</script>"""


@pytest.fixture
def where(page: Page, tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "uploadkit.js").write_text(module())
    with served(tmp_path) as address:
        page.goto(address)
        page.wait_for_function("window.ready")
        yield page


@pytest.fixture
def gallery(appliance: Appliance) -> str:
    slug = f"gallery-{uuid.uuid4().hex[:8]}"
    project = appliance.project_id
    assert appliance.call("POST", f"/projects/{project}/file-routes", {"slug": slug}).status == 201
    return slug


def run(page: Page, answers: list[str], routes: list[str], **options: Any) -> list[str]:
    return list(page.evaluate("([answers, routes, options]) => run(answers, routes, options)", [answers, routes, options]))


def test_one_token_for_several_file_routes(where: Page, appliance: Appliance, watched: Watched, gallery: str) -> None:
    token = endpoint(appliance, routeSlug=None, routeSlugs=["default", gallery], maxFiles=7)
    watched.requests.clear()
    routes = [gallery, "", "default", gallery, gallery, ""]
    ended = run(where, [token], [*routes, "elsewhere"], routeSlugs=["default", gallery], shareEndpoint=True)
    assert ended == [gallery, "default", "default", gallery, gallery, "default", "ROUTE_NOT_FOUND"]
    assert where.evaluate("asked") == [{"route": gallery, "routeSlugs": ["default", gallery], "files": 7}]
    assert not any("elsewhere" in asked for asked in watched.requests)


def test_each_file_asks_where_nothing_is_shared(where: Page, appliance: Appliance, gallery: str) -> None:
    token = endpoint(appliance, routeSlug=None, routeSlugs=["default", gallery], maxFiles=3)
    assert run(where, [token], ["", gallery, ""]) == ["default", gallery, "default"]
    asked = where.evaluate("asked")
    assert [(one["route"], one["routeSlugs"]) for one in asked] == [
        ("default", ["default"]),
        (gallery, [gallery]),
        ("default", ["default"]),
    ]


def test_a_shared_answer_that_failed_is_asked_for_again(where: Page, appliance: Appliance) -> None:
    token = endpoint(appliance, maxFiles=6)
    assert run(where, ["503", "429", token], [""] * 6, shareEndpoint=True) == ["default"] * 6
    assert [one["files"] for one in where.evaluate("asked")] == [6] * 3
