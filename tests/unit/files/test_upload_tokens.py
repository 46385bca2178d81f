"""Upload tokens as the services see them: races for the last place, what is kept of them, and their end."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE, Caller
from uploadkit.core import clock
from uploadkit.core.errors import Forbidden, NotFound, RateLimited, RouteNotFound, TierLimitExceeded, Unauthorized, UploadKitError
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File, Project, UploadToken
from uploadkit.files import lifecycle, multipart_upload, single_upload, upload_tokens
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import project_removal
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects


def new(size: int = 10) -> UploadRequest:
    return UploadRequest("a.jpg", size, "image/jpeg", "default", {})


def browser_of(app: App, **limits: int) -> Caller:
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {}, **limits)
    return upload_tokens.find_caller(app.ctx.config, issued.plaintext)


def test_only_the_hash_is_kept_and_nothing_shows_the_token(app: App) -> None:
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {"a": 1})
    row = UploadToken.get()
    assert row.token_hash == hashlib.sha256(issued.plaintext.encode()).hexdigest()
    assert issued.plaintext not in repr(issued) + repr(row.__data__)
    assert issued.plaintext[4:] not in repr(upload_tokens.find_caller(app.ctx.config, issued.plaintext))
    assert (row.max_files, row.max_bytes, row.expires_at - row.created_at) == (1, None, 900_000)


@pytest.mark.parametrize("presented", ["", "ukt_", "ukt_" + "x" * 32, "ukt_" + "é" * 32, "uk_live_" + "x" * 32, "\x00", "x" * 100_000])
def test_what_is_no_token(app: App, presented: str) -> None:
    with pytest.raises(Unauthorized):
        upload_tokens.find_caller(app.ctx.config, presented)


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_visitor_is_not_told_how_large_what_was_found_is(app: App, anonymous: bool) -> None:
    """On a store that obeys a outsider's headers that would be the size of somebody else's file. Who has an API key is told."""
    surface, headers = app.client(), {"Origin": "https://page.example"}
    rules = {"anonymousUploads": True, "allowedOrigins": [headers["Origin"]]}
    assert surface.post(f"/api/v1/projects/{app.project.id}/file-routes", json={"slug": "drop", **rules}).status_code == 201
    where = "/api/uploadkit/drop"
    if not anonymous:
        where = f"/api/uploadkit/t/{upload_tokens.issue_token(app.ctx.config, app.caller, ['drop'], {}).plaintext}/drop"
    ask = {"action": "request-upload", "fileName": "a.jpg", "fileSize": 10, "contentType": "image/jpeg"}
    slot = surface.post(where, json=ask, headers=headers).json
    app.ctx.store.ask("put_object", Key=File.get_by_id(slot["fileId"]).pending_key, Body=b"x" * 54_321, ContentType="text/secret")
    done = {"action": "upload-complete", "fileId": slot["fileId"], "key": slot["key"]}
    for _ in range(2):  # the second time it is read from the row
        refused = surface.post(where, json=done, headers=headers)
        assert (refused.status_code, refused.json["error"]["code"]) == (422, "UPLOAD_NOT_VERIFIED")
        assert not {"54321", "54_321", "secret"} & set(re.split(r"\W+", refused.text)), refused.text
    reported = surface.post("/api/v1/upload/complete", json={"fileId": slot["fileId"]})
    assert "54321 bytes" in reported.json["error"]["suggestion"]


@pytest.mark.parametrize("kind", ["single", "multipart", "both"])
def test_a_race_for_the_last_places(app: App, kind: str) -> None:
    browser, together = browser_of(app, max_files=5), threading.Barrier(16)

    def begin(number: int) -> bool:
        together.wait()
        try:
            if kind == "single" or (kind == "both" and number % 2):
                single_upload.request_upload(app.ctx, browser, new())
            else:
                multipart_upload.start_multipart(app.ctx, browser, new(11 * MIB))
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(begin, range(16))) == 5
    assert File.select().count() == 5


def test_a_race_for_the_last_bytes(app: App) -> None:
    browser, together = browser_of(app, max_files=100, max_bytes=1000), threading.Barrier(16)

    def begin(_: int) -> int:
        together.wait()
        try:
            return single_upload.request_upload(app.ctx, browser, new(150)).file.size_bytes
        except UploadKitError:
            return 0

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(begin, range(16))) == 900


def test_a_race_between_uploads_and_the_revocation(app: App) -> None:
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {}, max_files=1000)
    browser = upload_tokens.find_caller(app.ctx.config, issued.plaintext)
    revoked_at: list[int] = []

    def begin() -> None:
        for _ in range(20):
            try:
                single_upload.request_upload(app.ctx, browser, new())
            except Unauthorized:
                return

    def revoke() -> None:
        upload_tokens.revoke_token(app.caller, issued.token.id)
        revoked_at.append(File.select().count())

    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(begin) for _ in range(4)]
        running.append(pool.submit(revoke))
        for job in running:
            job.result()
    assert File.select().count() == revoked_at[0], "nothing began after the revocation"


def fail(app: App, browser: Caller, request: UploadRequest | None = None) -> File:
    file = single_upload.request_upload(app.ctx, browser, request or new()).file
    lifecycle.leave_uploading(app.ctx, file, "not_verified", "test")
    return file


def test_a_refused_upload_gives_its_place_back(app: App) -> None:
    browser = browser_of(app, max_bytes=10)
    fail(app, browser)
    kept = single_upload.request_upload(app.ctx, browser, new()).file
    with pytest.raises(Forbidden, match="used up: it is for 1 file"):
        single_upload.request_upload(app.ctx, browser, new())
    lifecycle.leave_uploading(app.ctx, kept, "aborted", "test")
    project = Project.get_by_id(app.project.id)
    assert project.storage_reserved_bytes == 20, "until its deadline an URL may still store bytes: they stay reserved in the quota"


def test_few_refused_uploads_have_urls_that_are_good_still(app: App) -> None:
    with travelled_to(clock.now_ms()) as advance:
        browser = browser_of(app, expires_seconds=86400)
        first = fail(app, browser)
        for _ in range(4):
            fail(app, browser)
        with pytest.raises(RateLimited) as refused:
            single_upload.request_upload(app.ctx, browser, new())
        assert refused.value.retry_after_seconds == -(-(first.deadline_at - clock.now_ms()) // 1000)
        advance(first.deadline_at - clock.now_ms())
        assert single_upload.request_upload(app.ctx, browser, new()).file.upload_token_id


def test_what_is_begun_with_a_token_is_bounded(app: App) -> None:
    browser = browser_of(app, expires_seconds=86400)
    for _ in range(30):
        slot = multipart_upload.start_multipart(app.ctx, browser, new(11 * MIB))
        multipart_upload.abort_multipart(app.ctx, browser, slot.file.id, str(slot.file.upload_id))
    with pytest.raises(Forbidden, match="30 uploads were begun"):
        multipart_upload.start_multipart(app.ctx, browser, new(11 * MIB))
    assert File.select().count() == 30


def test_a_token_for_several_file_routes(app: App) -> None:
    for slug, count in (("pictures", 4), ("films", 2)):
        file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": slug, "max_file_count": count})
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["pictures", "films", "pictures"], {})
    assert ([route.slug for route in issued.routes], issued.token.max_files) == (["pictures", "films"], 6)
    caller = upload_tokens.find_caller(app.ctx.config, issued.plaintext)
    with pytest.raises(RouteNotFound):
        upload_tokens.by_route(caller, "default")
    for slug in ("pictures", "films") * 3:
        request = UploadRequest(f"{File.select().count()}.jpg", 10, "image/jpeg", slug, {})
        single_upload.request_upload(app.ctx, upload_tokens.by_route(caller, slug), request)
    with pytest.raises(Forbidden):
        single_upload.request_upload(app.ctx, upload_tokens.by_route(caller, "films"), new())
    routes = {route.slug: route for route in file_routes.all_file_routes(app.project.id)}
    file_routes.delete_file_route(app.caller, routes["pictures"].id)
    left = upload_tokens.find_caller(app.ctx.config, issued.plaintext).browser
    assert left is not None
    assert left.route_slugs == ("films",)
    file_routes.delete_file_route(app.caller, routes["films"].id)
    assert UploadToken.select().count() == 0, "with the last of its file routes it is good for nothing"


def test_a_second_try_takes_the_place_of_the_first(app: App) -> None:
    with travelled_to(clock.now_ms()) as advance:
        film = UploadRequest("film.mp4", 11 * MIB, "video/mp4", "default", {"user": "ann"})
        browser = upload_tokens.find_caller(
            app.ctx.config, upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {"user": "ann"}).plaintext
        )
        first = multipart_upload.start_multipart(app.ctx, browser, film).file
        with pytest.raises(Forbidden):  # in one go: that is another file
            multipart_upload.start_multipart(app.ctx, browser, film)
        advance(6_000)
        with pytest.raises(Forbidden):
            multipart_upload.start_multipart(app.ctx, browser, replace(film, size_bytes=12 * MIB))
        second = multipart_upload.start_multipart(app.ctx, browser, film).file
        assert (File.get_by_id(first.id).status, File.get_by_id(second.id).status) == ("FAILED", "UPLOADING")
        # A fresh token for the same user, where the project has no room for both.
        Project.update(limit_overrides={"max_storage": 15 * MIB}).where(Project.id == app.project.id).execute()
        advance(6_000)
        for vouched, status in (({"user": "eve"}, "UPLOADING"), ({}, "UPLOADING"), ({"user": "ann"}, "FAILED")):
            token = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], vouched)
            try:
                visitor = upload_tokens.find_caller(app.ctx.config, token.plaintext)
                multipart_upload.start_multipart(app.ctx, visitor, replace(film, metadata=vouched))
            except TierLimitExceeded:
                assert status == "UPLOADING", "somebody else's upload is not ended"
            assert File.get_by_id(second.id).status == status


def test_nobodys_upload_is_ended_where_that_makes_no_room(app: App) -> None:
    """Two tokens may vouch for the same (`{"form": "contact"}`): one visitor could end what the other one is sending, and gain nothing."""
    with travelled_to(clock.now_ms()) as advance:
        tokens = [upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {"form": "contact"}) for _ in range(2)]
        visitor, outsider = (upload_tokens.find_caller(app.ctx.config, token.plaintext) for token in tokens)
        film = UploadRequest("film.mp4", 11 * MIB, "video/mp4", "default", {"form": "contact"})
        theirs = multipart_upload.start_multipart(app.ctx, visitor, film).file
        single_upload.request_upload(app.ctx, outsider, new())  # all that this token is for
        advance(6_000)
        with pytest.raises(Forbidden, match="used up"):
            multipart_upload.start_multipart(app.ctx, outsider, film)
        assert File.get_by_id(theirs.id).status == "UPLOADING"
        # A single upload holds its bytes until its URL has expired, whatever becomes of it.
        photo = UploadRequest("photo.jpg", 9 * MIB, "image/jpeg", "default", {"user": "ann"})
        ann = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {"user": "ann"}, max_files=2)
        first = single_upload.request_upload(app.ctx, upload_tokens.find_caller(app.ctx.config, ann.plaintext), photo).file
        Project.update(limit_overrides={"max_storage": 21 * MIB}).where(Project.id == app.project.id).execute()
        advance(6_000)
        with pytest.raises(TierLimitExceeded):
            single_upload.request_upload(app.ctx, upload_tokens.find_caller(app.ctx.config, ann.plaintext), photo)
        assert File.get_by_id(first.id).status == "UPLOADING"


def test_the_tokens_of_a_project_are_bounded(app: App) -> None:
    limits = app.ctx.config.limits.model_copy(update={"max_upload_tokens": 2})
    config = app.ctx.config.model_copy(update={"limits": limits})
    with travelled_to(clock.now_ms()) as advance:
        upload_tokens.issue_token(config, app.caller, ["default"], {}, expires_seconds=1)
        used = upload_tokens.issue_token(config, app.caller, ["default"], {}, expires_seconds=1)
        single_upload.request_upload(app.ctx, upload_tokens.find_caller(app.ctx.config, used.plaintext), new())
        with pytest.raises(RateLimited):
            upload_tokens.issue_token(config, app.caller, ["default"], {})
        advance(1_000 + upload_tokens.KEPT_UNUSED_MS)
        assert upload_tokens.purge_expired(app.ctx) == 1, "that without an upload under way"
        assert upload_tokens.issue_token(config, app.caller, ["default"], {})


def test_only_its_own_project_and_environment_revoke_a_token(app: App) -> None:
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {})
    for outsider in (replace(app.caller, environment="test"), replace(app.caller, project_id="other"), COMMAND_LINE):
        with pytest.raises(NotFound):
            upload_tokens.revoke_token(outsider, issued.token.id)
    assert upload_tokens.find_caller(app.ctx.config, issued.plaintext)


def test_old_tokens_are_purged_and_their_files_stay(app: App) -> None:
    with travelled_to(clock.now_ms()) as advance:
        file = single_upload.request_upload(app.ctx, browser_of(app, expires_seconds=1), new()).file
        advance(1_000 + upload_tokens.KEPT_MS - 1)
        assert upload_tokens.purge_expired(app.ctx) == 0
        advance(1)
        fresh = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {})
        assert upload_tokens.purge_expired(app.ctx) == 1
    assert [token.id for token in UploadToken.select()] == [fresh.token.id]
    assert File.get_by_id(file.id).upload_token_id


def test_a_deleted_file_route_takes_its_tokens_along(app: App) -> None:
    route = file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "gone"})
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["gone"], {})
    file_routes.delete_file_route(app.caller, route.id)
    assert UploadToken.select().count() == 0
    with pytest.raises(Unauthorized):
        upload_tokens.find_caller(app.ctx.config, issued.plaintext)


def test_a_renamed_file_route_keeps_its_tokens(app: App) -> None:
    route = file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "before"})
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["before"], {})
    file_routes.update_file_route(app.ctx.config, app.caller, route.id, {"slug": "after"})
    found = upload_tokens.by_route(upload_tokens.find_caller(app.ctx.config, issued.plaintext), "after").browser
    assert found is not None
    assert found.route_slug == "after"


def test_a_removed_project_leaves_no_tokens(app: App) -> None:
    project = projects.create_project(app.ctx.config, app.caller, "Gone soon")
    key = api_keys.issue_key(app.ctx.config, app.caller, project.id, "a")
    issued = upload_tokens.issue_token(app.ctx.config, api_keys.find_caller(app.ctx.config, key.plaintext), ["default"], {})
    projects.delete_project(app.caller, project.id)
    with pytest.raises(Unauthorized):
        upload_tokens.find_caller(app.ctx.config, issued.plaintext)
    with travelled_to(clock.now_ms() + 120_000):
        assert project_removal.remove_deleted_projects(app.ctx) == 1
    assert UploadToken.select().where(UploadToken.project == project.id).count() == 0
    assert Project.get_or_none(Project.id == project.id) is None
