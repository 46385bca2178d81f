"""What somebody can make more of without an end is not listed without one: an answer or a page stays small."""

from __future__ import annotations

import pytest

from tests.conftest import App
from uploadkit.auth import api_keys
from uploadkit.core.errors import Conflict
from uploadkit.core.ids import new_id
from uploadkit.db.connection import execute, write
from uploadkit.db.models import FileRoute, WebhookDelivery
from uploadkit.projects import file_routes
from uploadkit.webhooks import outbox

_ATTEMPTS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO webhook_attempt (id, delivery_id, started_at, duration_ms) SELECT 'attempt' || i, ?, i, 5 FROM n
"""
_REVOKED = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO api_key (id, project_id, name, key_hash, masked_key, environment, access, created_at, revoked_at)
SELECT 'key' || i, ?, 'k', 'hash' || i, 'm', 'live', 'project', i, i FROM n
"""


def test_a_project_has_so_many_file_routes_and_no_more(app: App) -> None:
    with write():
        made = [
            FileRoute(id=new_id(), project=app.project.id, slug=f"r{n}", created_at=n, updated_at=n).__data__
            for n in range(file_routes.MOST_OF_A_PROJECT - 2)
        ]
        FileRoute.insert_many(made).execute()
    file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "last"})
    with pytest.raises(Conflict, match="at most 500 file routes"):
        file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "one-more"})
    file_routes.delete_file_route(app.caller, FileRoute.get(FileRoute.slug == "r7").id)
    file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "one-more"})


def test_of_many_attempts_the_last_are_shown(app: App) -> None:
    route = FileRoute.get(FileRoute.slug == "default")
    FileRoute.update(webhook_url="https://receiver.example/hook").where(FileRoute.id == route.id).execute()
    delivery = outbox.send_test(app.ctx.config, app.caller, "default")
    with write():
        execute(_ATTEMPTS, (delivery.id,))
    assert [attempt.started_at for attempt in outbox.attempts_of(WebhookDelivery.get_by_id(delivery.id))] == [*range(1901, 2001)]


def test_of_many_revoked_keys_the_log_offers_the_newest(app: App) -> None:
    with write():
        execute(_REVOKED, (app.project.id,))
    assert [key.id for key in api_keys.all_keys(app.project.id, revoked=True, most=3)] == ["key2000", "key1999", "key1998"]
    assert len(api_keys.all_keys(app.project.id, revoked=True)) == 2000
