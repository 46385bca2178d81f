"""What the appliance should do, said once more and much shorter: files by status, quota, keys, projects and events, all in memory.

A `Step` is one call or one act of housekeeping. The model takes it and says what has to be answered: "OK" or the documented code. Nothing
here imports the product; `tests/property/driver.py` takes the same steps for real.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support.appliance import JPEG

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
URL_MS, SLOW_PUT_MS = HOUR_MS, 15 * MINUTE_MS
# What may be sent as a file: two that are what they say, and one that is not. The last byte tells the first two apart.
CONTENTS = {"right": JPEG + b"a" * 2000, "other": JPEG + b"b" * 2000, "wrong": b"%PDF-1.7\n" + b"c" * 2000}


class Limits(NamedTuple):
    """A tier that a few uploads fill."""

    keys: int
    bytes: int
    uploads: int


TIERS = {"free": Limits(2, 3_000, 4), "pro": Limits(4, 8_000, 9)}


class Step(NamedTuple):
    """One thing to do: the name of a method of both the model and the driver, and what it is given beside the time."""

    verb: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb}{self.arguments}"


@dataclass
class Upload:
    """A file from its request on. `pending` is which content lies in the store unverified, `content` the one that was verified."""

    project: str
    sandbox: bool
    in_parts: bool
    size: int
    created_at: int
    url_ends: int
    deadline: int
    sweep_at: int | None
    reserved: int
    status: str = "UPLOADING"
    failure: str | None = None
    pending: str = ""
    content: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=lambda: ["upload.requested"])


@dataclass
class Project:
    """What is counted for the live files of a project."""

    tier: str
    used: int = 0
    reserved: int = 0
    under_way: int = 0
    completed: Counter[str] = field(default_factory=Counter)
    deleted: bool = False


@dataclass
class Key:
    """An API key; `boss` has account access."""

    project: str
    sandbox: bool = False
    revoked: bool = False


def month_of(at_ms: int) -> str:
    """The calendar month in which uploads are counted."""
    return time.strftime("%Y-%m", time.gmtime(at_ms // 1000))


class Model:
    """All that there is. Every method that is a step returns "OK" or a code."""

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}
        self.keys: dict[str, Key] = {}
        self.uploads: dict[str, Upload] = {}

    def take(self, step: Step, now: int) -> Any:
        return getattr(self, step.verb)(now, *step.arguments)

    # Calls with a project's own key.

    def request(self, now: int, name: str, key: str, size: int, in_parts: bool) -> str:
        """Sent with an Idempotency-Key of its own, so that the second time it answers the first one's file."""
        if self._refuses(key):
            return "UNAUTHORIZED"
        if name in self.uploads:
            return self._request_again(now, self.uploads[name])
        owner, sandbox = self.keys[key].project, self.keys[key].sandbox
        if not sandbox and not self._reserve(now, self.projects[owner], size):
            return "TIER_LIMIT_EXCEEDED"
        deadline = now + URL_MS + SLOW_PUT_MS
        reserved = 0 if sandbox else size
        self.uploads[name] = Upload(owner, sandbox, in_parts, size, now, now + URL_MS, deadline, deadline, reserved)
        return "OK"

    def _reserve(self, now: int, project: Project, size: int) -> bool:
        limits = TIERS[project.tier]
        if project.used + project.reserved + size > limits.bytes:
            return False
        if project.under_way + project.completed[month_of(now)] >= limits.uploads:
            return False
        project.reserved += size
        project.under_way += 1
        return True

    def _request_again(self, now: int, upload: Upload) -> str:
        if upload.status == "UPLOADED":
            return "CONFLICT"
        if upload.status != "UPLOADING":
            return self._ended(upload)
        upload.url_ends, upload.deadline = now + URL_MS, now + URL_MS + SLOW_PUT_MS
        upload.sweep_at = upload.deadline
        return "OK"

    def put(self, now: int, name: str, content: str) -> str:
        """What somebody does with an upload URL, however late; nobody is asked for a key. Parts are sent once."""
        upload = self.uploads.get(name)
        if upload is None or now >= upload.url_ends or (upload.in_parts and (upload.pending or upload.status != "UPLOADING")):
            return "OK"
        upload.pending = content
        return "OK"

    def complete(self, now: int, name: str, key: str, note: str) -> str:
        if self._refuses(key):
            return "UNAUTHORIZED"
        upload = self._seen(name, key)
        if upload is None:
            return "UPLOAD_NOT_FOUND"
        if upload.status == "UPLOADED":
            return "OK"
        if upload.status != "UPLOADING":
            return self._ended(upload)
        if not upload.pending:  # it may still come
            return "INVALID_PARTS" if upload.in_parts else "UPLOAD_NOT_VERIFIED"
        if upload.in_parts:
            upload.metadata |= {"completed": note}  # kept before the store is asked to join the parts
        if upload.pending not in ("right", "other"):
            self._fail(now, upload, "not_verified")
            return "UPLOAD_NOT_VERIFIED"
        self._finish(now, upload, note)
        return "OK"

    def _finish(self, now: int, upload: Upload, note: str) -> None:
        upload.status, upload.content = "UPLOADED", upload.pending
        upload.metadata |= {"completed": note}
        upload.events.append("upload.completed")
        upload.sweep_at = None if upload.in_parts else now
        if not upload.sandbox:
            project = self.projects[upload.project]
            project.reserved -= upload.reserved
            project.used += upload.size
            project.under_way -= 1
            project.completed[month_of(now)] += 1
        upload.reserved = 0

    def abort(self, now: int, name: str, key: str) -> str:
        """For uploads in parts alone: others are deleted."""
        if self._refuses(key):
            return "UNAUTHORIZED"
        upload = self._seen(name, key)
        if upload is None or not upload.in_parts:
            return "UPLOAD_NOT_FOUND"
        if upload.status == "UPLOADED":
            return "CONFLICT"
        if upload.status == "UPLOADING":
            self._fail(now, upload, "aborted")
        else:
            self._tidy(now, upload)
        return "OK"

    def delete(self, now: int, name: str, key: str) -> str:
        if self._refuses(key):
            return "UNAUTHORIZED"
        upload = self._seen(name, key)
        if upload is None:
            return "NOT_FOUND"
        if upload.status == "UPLOADING":
            self._fail(now, upload, "aborted")
        else:
            self._mark_deleted(now, upload)
        return "OK"

    def delete_many(self, now: int, names: Sequence[str], key: str) -> list[str]:
        answers = {name: self.delete(now, name, key) for name in dict.fromkeys(names)}
        return [answers[name] for name in names]

    def patch(self, now: int, name: str, key: str, note: str) -> str:
        if self._refuses(key):
            return "UNAUTHORIZED"
        upload = self._seen(name, key)
        if upload is None:
            return "NOT_FOUND"
        upload.metadata |= {"patched": note}
        return "OK"

    def read(self, now: int, name: str) -> str:
        """By its public URL."""
        upload = self.uploads.get(name)
        readable = upload is not None and upload.status == "UPLOADED" and not self.projects[upload.project].deleted
        return "OK" if readable else "NOT_FOUND"

    # Calls with account access.

    def change_tier(self, now: int, project: str, tier: str) -> str:
        if self.projects[project].deleted:
            return "NOT_FOUND"
        self.projects[project].tier = tier
        return "OK"

    def new_key(self, now: int, name: str, project: str, sandbox: bool) -> str:
        if self.projects[project].deleted:
            return "NOT_FOUND"
        active = sum(key.project == project and not key.revoked for key in self.keys.values())
        if active >= TIERS[self.projects[project].tier].keys:
            return "TIER_LIMIT_EXCEEDED"
        self.keys[name] = Key(project, sandbox)
        return "OK"

    def revoke(self, now: int, key: str) -> str:
        if key not in self.keys or self.projects[self.keys[key].project].deleted:
            return "NOT_FOUND"
        self.keys[key].revoked = True
        return "OK"

    def new_project(self, now: int, name: str) -> str:
        self.projects[name] = Project("pro")
        return "OK"

    def delete_project(self, now: int, name: str) -> str:
        if self.projects[name].deleted:
            return "NOT_FOUND"
        self.projects[name].deleted = True
        for key in self.keys.values():
            key.revoked |= key.project == name
        return "OK"

    # Housekeeping.

    def sweep(self, now: int) -> str:
        for name in self.uploads:
            self.sweep_one(now, name)
        return "OK"

    def sweep_one(self, now: int, name: str) -> str:
        upload = self.uploads.get(name)
        while upload is not None and upload.sweep_at is not None and upload.sweep_at <= now:
            if upload.status == "UPLOADING":
                self._fail(now, upload, "expired")
            else:
                self._tidy(now, upload)
        return "OK"

    def purge(self, now: int) -> str:
        """The sandbox forgets what is a day old."""
        for upload in self.uploads.values():
            if upload.sandbox and upload.created_at <= now - DAY_MS:
                if upload.status == "UPLOADING":
                    self._fail(now, upload, "aborted")
                if upload.status != "DELETED":
                    self._mark_deleted(now, upload)
        return "OK"

    # What the steps have in common.

    def _refuses(self, key: str) -> bool:
        return key not in self.keys or self.keys[key].revoked

    def _seen(self, name: str, key: str) -> Upload | None:
        upload, caller = self.uploads.get(name), self.keys[key]
        if upload is None or upload.status == "DELETED" or (upload.project, upload.sandbox) != (caller.project, caller.sandbox):
            return None
        return upload

    def _ended(self, upload: Upload) -> str:
        if upload.status == "DELETED":
            return "UPLOAD_NOT_FOUND"
        return {"not_verified": "UPLOAD_NOT_VERIFIED", "expired": "UPLOAD_EXPIRED"}.get(upload.failure or "", "UPLOAD_NOT_FOUND")

    def _fail(self, now: int, upload: Upload, failure: str) -> None:
        upload.status, upload.failure = "FAILED", failure
        upload.events.append({"aborted": "upload.aborted", "expired": "upload.expired"}.get(failure, "upload.failed"))
        if not upload.sandbox:
            self.projects[upload.project].under_way -= 1
        self._tidy(now, upload)

    def _mark_deleted(self, now: int, upload: Upload) -> None:
        if upload.status == "UPLOADED" and not upload.sandbox:
            self.projects[upload.project].used -= upload.size
        upload.status, upload.sweep_at = "DELETED", now
        upload.events.append("file.deleted")

    def _tidy(self, now: int, upload: Upload) -> None:
        """Clear the store. What a failed upload holds it holds until no URL can store its bytes any more."""
        upload.pending, over = "", now >= upload.deadline
        if upload.status != "UPLOADED" and (over or upload.in_parts):
            self.projects[upload.project].reserved -= upload.reserved
            upload.reserved = 0
        upload.sweep_at = None if over else upload.deadline

    # What can be seen from outside, to be held against the real thing.

    def seen(self) -> dict[str, Any]:
        alive = {name: project for name, project in self.projects.items() if not project.deleted}
        return {
            "projects": {name: (p.tier, p.used, p.reserved, p.under_way) for name, p in alive.items()},
            "revoked": sorted(name for name, key in self.keys.items() if key.revoked and key.project in alive),
            "files": {
                name: (
                    u.status,
                    u.failure if u.status == "FAILED" else None,
                    u.reserved,
                    u.metadata if u.status != "DELETED" else None,
                    u.events,
                )
                for name, u in self.uploads.items()
                if u.project in alive
            },
        }


def explanation(model: Model, now: int, done: Sequence[tuple[Step, Any]], seen: dict[str, Any]) -> Model | None:
    """Return the model after one order of the steps that makes each answer what it was, and the end what was `seen`; None: there is none.

    What goes through several files takes them one after the other; a sweep leaves one that somebody else has in hand for its next round.
    While a request runs, its repetition is refused and does nothing.
    """
    single: list[tuple[Step, str | None]] = []
    for step, answer in done:
        if answer == "IDEMPOTENCY_CONFLICT" and sum(other == step for other, _ in done) > 1:
            continue
        if step.verb == "sweep":
            single += [(Step("sweep_one", (name,)), None) for name in model.uploads]
        elif step.verb == "delete_many":
            names, key = step.arguments
            single += [(Step("delete", (name, key)), reported) for name, reported in dict(zip(names, answer, strict=True)).items()]
        else:
            single.append((step, answer))
    return next(_orders(model, now, single, seen), None)


def _orders(model: Model, now: int, left: Sequence[tuple[Step, str | None]], seen: dict[str, Any]) -> Iterator[Model]:
    if all(answer is None for _, answer in left) and model.seen() == seen:
        yield model
        return
    for place, (step, answer) in enumerate(left):
        tried = copy.deepcopy(model)
        if tried.take(step, now) == answer or answer is None:
            yield from _orders(tried, now, [*left[:place], *left[place + 1 :]], seen)
