"""The bundled store is read through by itself: what is damaged or gone is told by the log and /readyz, until it is put back."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tests.conftest import App
from tests.support.sample_files import SINGLE_BYTES, film, in_parts, jpeg, single
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from uploadkit.context import Context
from uploadkit.db.models import File
from uploadkit.maintenance import scrub
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import health


def with_budget(app: App, per_hour: int | None, mode: str = "bundled") -> Context:
    storage = app.ctx.config.storage
    changed = storage.model_copy(update={"mode": mode, "bundled": storage.bundled.model_copy(update={"scrub_bytes_per_hour": per_hour})})
    app.ctx.config = app.ctx.config.model_copy(update={"storage": changed})
    return app.ctx


def overwrite(app: App, key: str, content: bytes) -> None:
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=key, Body=content, ContentType="image/jpeg")


def storage_check(app: App) -> health.Check:
    return next(check for check in health.check(app.ctx) if check.name == "storage")


def test_damage_is_told_once_and_shown_until_it_is_put_back(app: App, caplog: pytest.LogCaptureFixture) -> None:
    content = jpeg()
    sound, replaced, gone, deleted = single(app, jpeg()), single(app, content), single(app, jpeg()), single(app, jpeg())
    assert scrub.scrub(app.ctx) == 4
    assert (storage_check(app).ok, "verified" in storage_check(app).detail) == (True, False)
    overwrite(app, replaced.key, content[::-1])
    app.ctx.store.delete(gone.key)
    app.ctx.store.delete(deleted.key)
    with caplog.at_level(logging.ERROR, logger="uploadkit.maintenance.scrub"):
        for _ in range(3):
            assert scrub.scrub(app.ctx) == 4
    reported = [record.getMessage() for record in caplog.records]
    assert [(replaced.id in line, gone.id in line, deleted.id in line) for line in reported] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    check = storage_check(app)
    assert check.ok, "uploads go on"
    assert "3 file(s) can't be read as they were verified" in check.detail
    overwrite(app, replaced.key, content)
    File.update(status="DELETED").where(File.id == deleted.id).execute()
    scrub.scrub(app.ctx)
    assert scrub.damaged_files() == 1
    assert sound.key not in " ".join(reported)


def test_it_goes_round_within_its_budget(app: App) -> None:
    for _ in range(5):
        single(app, jpeg())
    asked_for: list[str] = []

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        asked_for.append(asked.key)
        return pass_on(asked)

    with proxied(app.ctx.store.address, rule) as to:
        app.ctx.store = ObjectStore(to)
        rounds = [scrub.scrub(with_budget(app, 2 * 64 * 1024 * 6)) for _ in range(5)]
    assert rounds == [2, 2, 2, 2, 2], "a small file counts as 64 KiB"
    assert sorted(map(asked_for.count, set(asked_for))) == [2] * 5, "oldest look first: each one twice"


def test_of_a_large_file_a_piece_is_looked_at(app: App) -> None:
    file = in_parts(app, *film())
    ctx = with_budget(app, 6 * 5 * 1024**2)
    read: list[int] = []

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        read.append(len(answered.body))
        return answered

    straight = ctx.store
    with proxied(straight.address, rule) as to:
        ctx.store = ObjectStore(to)
        assert scrub.scrub(ctx) == 1
    assert max(read) < file.size_bytes
    ctx.store = straight
    ctx.store.delete(file.key)
    scrub.scrub(ctx)
    assert scrub.damaged_files() == 1


def test_a_store_that_is_away_is_no_damage(app: App) -> None:
    single(app, jpeg())
    app.ctx.store = ObjectStore(replace(app.ctx.store.address, endpoint="http://127.0.0.1:9"), timeout_seconds=1)
    assert scrub.scrub(app.ctx) == 0
    assert scrub.damaged_files() == 0


def test_it_can_be_switched_off_and_is_for_the_bundled_store(app: App) -> None:
    single(app, jpeg())
    assert scrub.scrub(with_budget(app, None)) == 0
    assert scrub.scrub(with_budget(app, 1024**2, "byos")) == 0
    assert scrub.scrub(with_budget(app, SINGLE_BYTES)) == 1, "and it is never too little for one file"
