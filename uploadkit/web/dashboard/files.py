"""Files: find, look, change metadata, share, delete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

from flask import abort, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit.core.errors import NotFound, UploadKitError
from uploadkit.core.sizes import MIB
from uploadkit.db.models import Event, File, WebhookDelivery
from uploadkit.files import links
from uploadkit.files import service as files
from uploadkit.files.naming import is_inline
from uploadkit.objectstore import urls
from uploadkit.projects import file_routes
from uploadkit.schemas.files import FileListQuery, MetadataBody
from uploadkit.web.dashboard import filters, forms
from uploadkit.web.dashboard.guard import caller, project
from uploadkit.web.dashboard.notices import leave_notice, show_once, take_shown_once
from uploadkit.web.requests import context
from uploadkit.webhooks import event_log, outbox

STATUSES = ("UPLOADED", "UPLOADING", "FAILED", "DELETED")
KNOWN_TYPES = ("image/*", "video/*", "audio/*", "text/*", "application/pdf", "application/zip")
TYPE_PATTERN = r"\*/\*|[\w.+!#$&^-]+/(?:\*|[\w.+!#$&^-]+)"
_AN_OBJECT = 'must be a JSON object such as {"album": "Summer"}'
_A_DAY = "must be a day such as 2026-04-08"
WORDS = {"content_type": "must be a media type such as image/* or application/pdf", "since": _A_DAY, "until": _A_DAY}
_LARGEST_THUMBNAIL_BYTES = 2 * MIB
_PREVIEW_SECONDS = 3600
_LINK_SECONDS = {"1 hour": 3600, "1 day": 86_400, "7 days": links.LONGEST_LINK_SECONDS}
_LARGEST_PDF_BYTES = 32 * MIB
# How what may be shown at all (files/naming.py) is embedded: none of it can run as a page, whatever the store says that it is.
_EMBEDDED = {"image/": "image", "video/": "video", "audio/": "audio", "application/pdf": "pdf", "text/plain": "text"}


class Moment(NamedTuple):
    """One thing that happened to a file: when, what, how it went (good, bad or neither), and what more there is to say."""

    at: int
    what: str
    mood: str
    detail: str


@project.get("/files")
def list_files() -> tuple[str, int]:
    """List the files that match what is asked for, newest first."""
    found = forms.listed(lambda cursor: files.list_files(caller(), _filter(), forms.MOST_ON_A_PAGE, cursor))
    page = render_template(
        "dashboard/files.html",
        page=found.page,
        refused=found.refused,
        statuses=STATUSES,
        types=KNOWN_TYPES,
        routes=file_routes.all_file_routes(g.project.id),
        is_filtered=any(request.args.get(name) for name in ("search", "status", "type", "route", "since", "until")),
        url_of=url_of,
        thumbnail=thumbnail,
    )
    return page, found.status


def _filter() -> files.FileFilter:
    """What is asked for in the address. Raises ValidationFailed."""
    given = request.args
    query: dict[str, Any] = {"status": given.get("status"), "route_slug": given.get("route"), "since": given.get("since")}
    query |= {"content_type": given.get("type", "").strip(), "search": given.get("search", "").strip()}
    query["until"] = day_after(given.get("until", ""))
    return forms.validated(FileListQuery, {name: value for name, value in query.items() if value}, WORDS).to_filter()


def day_after(day: str) -> str:
    """The end of a day, which people mean when they say until; what is no day, as it is."""
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return day


def url_of(file: File) -> str:
    """Return the lasting URL of a file."""
    return urls.public_url(context().config, file)


def thumbnail(file: File) -> str | None:
    """Return where a list gets a small picture from; None where there is none, or only a large one."""
    is_image = is_inline(file.content_type) and file.content_type.lower().startswith("image/")
    is_small_image = is_image and file.size_bytes <= _LARGEST_THUMBNAIL_BYTES
    return _readable_url(file) if is_small_image and file.status == "UPLOADED" else None


def _readable_url(file: File) -> str:
    """Return a URL that this browser may read the file at."""
    if file.visibility == "public":
        return url_of(file)
    return links.make_link(context(), caller(), file.key, _PREVIEW_SECONDS, download=False).url


@project.get("/files/<file_id>")
def show_file(file_id: str) -> str:
    """Show a file, what is known of it, and what happened to it."""
    return _file_page(file_id, None)


def _find(file_id: str) -> File:
    """Return the file with this id; of one that is deleted, lead to the list, which says so. Raises NotFound."""
    try:
        return files.find_file_by_id(caller(), file_id)
    except NotFound:
        if (name := files.deleted_name(caller(), file_id)) is None:
            raise
        leave_notice(f"{name} has been deleted.")
        abort(redirect(url_for(".list_files")))


def _file_page(file_id: str, failure: UploadKitError | None) -> str:
    file = _find(file_id)
    uploaded = file.status == "UPLOADED"
    return render_template(
        "dashboard/file.html",
        file=file,
        url=url_of(file),
        preview_url=_readable_url(file) if uploaded else None,
        embedded_as=_embedded_as(file) if uploaded else None,
        timeline=sorted(_timeline(file_id), key=lambda moment: moment.at),
        link=take_shown_once(f"link {file.id}"),
        lifetimes=_LINK_SECONDS,
        metadata=request.form.get("metadata") if failure else filters.pretty(file.metadata),
        failure=failure,
    )


def _embedded_as(file: File) -> str | None:
    """Return how a page shows a file; None where it is to be opened by itself. A PDF is read into memory, so a large one is not."""
    if not is_inline(file.content_type):
        return None
    kind = next((kind for start, kind in _EMBEDDED.items() if file.content_type.lower().startswith(start)), None)
    return None if kind == "pdf" and file.size_bytes > _LARGEST_PDF_BYTES else kind


def _timeline(file_id: str) -> Iterator[Moment]:
    for event in event_log.of_file(caller(), file_id):
        yield Moment(event.at, *_words_for(event))
    for delivery in outbox.deliveries_of_file(caller(), file_id):
        attempts = outbox.attempts_of(delivery)
        for number, attempt in enumerate(attempts, max(delivery.attempts - len(attempts), 0) + 1):
            arrived = attempt.error is None and attempt.status_code is not None and 200 <= attempt.status_code < 300
            answer = attempt.error or f"answered {attempt.status_code} in {attempt.duration_ms} ms"
            yield Moment(attempt.started_at, f"Webhook {delivery.event}, try {number}", "good" if arrived else "bad", answer)
        if delivery.next_attempt_at is not None:
            yield Moment(delivery.next_attempt_at, f"Webhook {delivery.event}", "", _waiting(delivery))


def _words_for(event: Event) -> tuple[str, str, str]:
    mood = {"UPLOADED": "good", "FAILED": "bad"}.get(event.status, "")
    return event.event, mood, event.detail or ""


def _waiting(delivery: WebhookDelivery) -> str:
    return "waits: its destination is paused" if delivery.destination.paused_at is not None else "next try"


@project.post("/files/<file_id>/metadata")
def change_metadata(file_id: str) -> Response | tuple[str, int]:
    """Put what was written in the place of a file's metadata."""
    file = _find(file_id)
    try:
        try:
            written = json.loads(request.form.get("metadata", "") or "{}")
        except (ValueError, RecursionError):
            written = None
        words = {} if isinstance(written, dict) else {"metadata": _AN_OBJECT}
        body = forms.validated(MetadataBody, {"metadata": written}, words)
        files.replace_metadata(caller(), file.key, body.metadata)
    except UploadKitError as failure:
        return _file_page(file_id, failure), failure.status
    leave_notice("Saved the metadata.")
    return redirect(url_for(".show_file", file_id=file_id))


@project.post("/files/<file_id>/link")
def make_link(file_id: str) -> Response:
    """Make a signed link, and show it."""
    file = _find(file_id)
    seconds = _LINK_SECONDS.get(forms.text("lifetime"), _PREVIEW_SECONDS)
    show_once(f"link {file.id}", links.make_link(context(), caller(), file.key, seconds, download="download" in request.form))
    return redirect(url_for(".show_file", file_id=file_id))


@project.post("/files/<file_id>/delete")
def delete_file(file_id: str) -> Response:
    """Delete a file."""
    file = _find(file_id)
    files.delete_file(context(), caller(), file.key)
    leave_notice(f"Deleted {file.file_name}.")
    return redirect(url_for(".list_files"))


@project.post("/files/delete")
def delete_files() -> Response:
    """Delete the files that were ticked."""
    keys = request.form.getlist("key")[:100]
    done = files.delete_files(context(), caller(), keys)
    failures = [f"{key}: {failure.message}" for key, failure in done.failures.items()]
    summary = f"Deleted {done.deleted} of {len(keys)} files." if keys else "No file was ticked, so none was deleted."
    leave_notice(" ".join([summary, *failures[:3]]))
    return redirect(url_for(".list_files"))
