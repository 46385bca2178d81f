"""`/usage…` and `/logs`: what a project uses, and what happened to its files."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import StorageUnavailable
from uploadkit.db.paging import Page
from uploadkit.projects import usage
from uploadkit.schemas.usage import LogEntry, LogListQuery, LogPage, UsageHistory, UsageMonth, UsageObject
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import json_answer
from uploadkit.webhooks import event_log


@api.get("/usage", **answers(UsageObject, StorageUnavailable))
def get_usage() -> Response:
    """Get what the project uses now, and its limits."""
    return json_answer(UsageObject.of(usage.present(g.caller)))


@api.get("/usage/history", **answers(UsageHistory))
def list_usage_history() -> Response:
    """List the use of the last twelve months."""
    return json_answer(UsageHistory.of(Page(usage.history(g.caller), None), UsageMonth.model_validate))


@api.get("/logs", **answers(LogPage, StorageUnavailable))
def list_logs(query: LogListQuery) -> Response:
    """List what happened to the project's uploads and files, newest first."""
    page = event_log.list_events(g.caller, event_log.EventFilter(query.status, query.since), query.limit, query.cursor)
    return json_answer(LogPage.of(page, LogEntry.model_validate))
