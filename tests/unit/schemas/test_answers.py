"""Answers: what is in them, and what they keep to themselves."""

from __future__ import annotations

import json

import orjson
import pytest
from pydantic import ValidationError

from uploadkit.auth.api_keys import IssuedKey
from uploadkit.db.models import ApiKey, Event, FileRoute, WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.db.paging import Page
from uploadkit.schemas.api_keys import KeyObject, KeyPage, NewKeyObject
from uploadkit.schemas.base import rendered
from uploadkit.schemas.file_routes import FileRouteBody, FileRouteChangesBody, FileRouteObject
from uploadkit.schemas.webhooks import DeliveryInFull, EventFeed
from uploadkit.webhooks.event_log import Feed

NOON = 1_775_649_600_000
PLAINTEXT = f"uk_live_{'s' * 32}"


def key(**named: object) -> ApiKey:
    columns = {"id": "k", "project": "p", "name": "CI", "masked_key": "uk_live_sss...ssssss", "environment": "live", "access": "project"}
    return ApiKey(**columns | {"created_at": NOON} | named)


def test_a_new_key_is_in_its_answer_and_nowhere_else() -> None:
    answer = NewKeyObject.of(IssuedKey(key(), PLAINTEXT))
    assert rendered(answer)["key"] == PLAINTEXT
    assert PLAINTEXT not in repr(answer) + str(answer)
    with pytest.raises(ValidationError) as refused:
        NewKeyObject.of(IssuedKey(key(), PLAINTEXT + "!"))
    assert PLAINTEXT not in str(refused.value)


def test_a_page() -> None:
    page = KeyPage.of(Page([key(last_used_at=NOON + 1)], "next"), KeyObject.model_validate)
    assert orjson.dumps(page, rendered) == orjson.dumps(
        {
            "items": [
                {
                    "id": "k",
                    "projectId": "p",
                    "name": "CI",
                    "maskedKey": "uk_live_sss...ssssss",
                    "environment": "live",
                    "access": "project",
                    "createdAt": "2026-04-08T12:00:00.000Z",
                    "lastUsedAt": "2026-04-08T12:00:00.001Z",
                    "revokedAt": None,
                }
            ],
            "nextCursor": "next",
            "hasMore": True,
        }
    )


def test_an_event_in_the_feed_begins_with_its_place() -> None:
    event = Event(
        id="e", sequence=42, at=NOON, project="p", environment="live", file_id="f", key="p/default/f/a.txt", file_name="a.txt",
        status="UPLOADED", metadata={"a": 1}, client_metadata={}, size_bytes=1, content_type="text/plain", file_created_at=NOON,
    )  # fmt: skip
    (reported,) = rendered(EventFeed.of(Feed([event], 42, False, False), lambda event: f"https://u/{event.key}"))["items"]
    assert list(reported) == ["sequence", "id", "event", "createdAt", "projectId", "environment", "file", "metadata"]
    assert reported["file"]["url"] == "https://u/p/default/f/a.txt"


def test_a_payload_of_an_earlier_version_is_shown_as_it_was_sent() -> None:
    sent = {"id": "e", "file": {"name": "a.txt"}, "more": [1, {"b": None}]}
    delivery = WebhookDelivery(
        id="d", destination=WebhookDestination(url="https://r"), event_id="e", event="file.deleted", environment="live",
        status="delivered", payload=json.dumps(sent), attempts=1, created_at=NOON, ended_at=NOON,
    )  # fmt: skip
    attempt = WebhookAttempt(started_at=NOON, duration_ms=3, request_headers={"webhook-id": "e"}, status_code=200)
    answer = rendered(DeliveryInFull.in_full(delivery, [attempt]))
    assert json.dumps(answer["payload"]) == json.dumps(sent)
    assert answer["deliveredAt"] == "2026-04-08T12:00:00.000Z"


def test_every_field_of_a_file_route_comes_in_goes_out_and_is_a_column() -> None:
    ours = {"id", "project_id", "anonymous_endpoint", "created_at", "updated_at"}
    assert FileRouteObject.model_fields.keys() - ours == FileRouteBody.model_fields.keys() == FileRouteChangesBody.model_fields.keys()
    columns = FileRouteBody.model_validate({"slug": "a", "maxFileSize": "4MB"}).to_columns()
    assert columns == {"slug": "a", "max_file_size_bytes": 4 * 1024**2}
    renamed = {"max_file_size": "max_file_size_bytes"}
    assert {renamed.get(name, name) for name in FileRouteBody.model_fields} <= FileRoute._meta.fields.keys()
