"""A store that speaks S3 and lies: every loop over its answers ends, none is a traceback, and nothing it says is done to the terminal."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.killed_uploads import sent_in_parts
from tests.support.single_uploads import upload
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stored import objects
from uploadkit.cli import storage
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.ids import new_id
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import multipart_upload
from uploadkit.maintenance import reconcile, store_migration, sweeper
from uploadkit.objectstore import listing, transfer
from uploadkit.objectstore.objects import StoredObject
from uploadkit.objectstore.store import ObjectStore

NUMBERS = itertools.count()
TIME = "2026-01-01T00:00:00.000Z"


def xml(root: str, inner: str) -> Answered:
    body = f'<?xml version="1.0"?><{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{root}>'
    return Answered(200, {"Content-Type": "application/xml"}, body.encode())


def item(key: str) -> str:
    text = f"<Size>1</Size><ETag>&quot;e&quot;</ETag><LastModified>{TIME}</LastModified>"
    return f"<Contents><Key>{key}</Key>{text}</Contents>"


def part(number: object, **more: str) -> str:
    text = {"PartNumber": number, "Size": 1, "ETag": "e", "LastModified": "2026-01-01T00:00:00.000Z"} | more
    return "<Part>" + "".join(f"<{name}>{value}</{name}>" for name, value in text.items() if value != "") + "</Part>"


def page(inner: str, *, more: str = "<IsTruncated>true</IsTruncated>") -> Answered:
    return xml("ListBucketResult", inner + more)


LISTINGS: dict[str, Callable[[], Answered]] = {
    "the same page for ever": lambda: page(item("k") + f"<NextContinuationToken>{next(NUMBERS)}</NextContinuationToken>"),
    "the same token for ever": lambda: page(item(f"k{next(NUMBERS)}") + "<NextContinuationToken>t</NextContinuationToken>"),
    "empty pages for ever": lambda: page(f"<NextContinuationToken>{next(NUMBERS)}</NextContinuationToken>"),
    "more, but not where": lambda: page(item("k")),
    "an object without a size": lambda: page("<Contents><Key>k</Key></Contents>", more=""),
    "an object without a key": lambda: page("<Contents><Size>1</Size></Contents>", more=""),
    "a size that is none": lambda: page(item("k").replace("<Size>1<", "<Size>many<"), more=""),
    "a time that is none": lambda: page(item("k").replace("2026-01-01T00:00:00.000Z", "soon"), more=""),
    "a size beyond all": lambda: page(item("k").replace("<Size>1<", f"<Size>{'9' * 30}<"), more=""),
    "a document that is too long": lambda: page(item("k") * (100 * MIB // 150), more=""),
}


@pytest.mark.parametrize("lie", LISTINGS)
def test_listings(app: App, lie: str) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return LISTINGS[lie]() if "list-type" in asked.query else pass_on(asked)

    with proxied(app.ctx.store.address, rule) as address:
        app.ctx.store = ObjectStore(address, timeout_seconds=2)
        with pytest.raises(StorageUnavailable):
            reconcile.compare(app.ctx)
        with pytest.raises(StorageUnavailable):
            store_migration.clear_target(app.ctx.store)


PARTS: dict[str, Callable[[], Answered]] = {
    "the same page for ever": lambda: xml(
        "ListPartsResult", part(1) + "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"
    ),
    "markers for ever": lambda: xml(
        "ListPartsResult", f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{next(NUMBERS)}</NextPartNumberMarker>"
    ),
    "more, but not where": lambda: xml("ListPartsResult", part(1) + "<IsTruncated>true</IsTruncated>"),
    "a part without a number": lambda: xml("ListPartsResult", part("")),
    "a part without an ETag": lambda: xml("ListPartsResult", part(1, ETag="")),
    "a part without a time": lambda: xml("ListPartsResult", part(1, LastModified="")),
    "a number that is none": lambda: xml("ListPartsResult", part("first")),
}


@pytest.mark.parametrize("lie", PARTS)
def test_lists_of_parts(app: App, lie: str) -> None:
    facts = sent_in_parts(app, app.caller)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return PARTS[lie]() if asked.method == "GET" and "uploadId" in asked.query else pass_on(asked)

    with proxied(app.ctx.store.address, rule) as address:
        straight, app.ctx.store = app.ctx.store, ObjectStore(address, timeout_seconds=2)
        with pytest.raises(StorageUnavailable):
            multipart_upload.complete_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"], None, {})
        with travelled_to(clock.now_ms() + 86_400_000):
            sweeper.sweep_due(app.ctx)
        assert File.get_by_id(facts["id"]).status == "UPLOADING", "no upload ends by an answer that is none"
        app.ctx.store = straight
    multipart_upload.complete_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"], None, {})


def test_a_list_of_multiparts_without_end(app: App) -> None:
    """The sweeper asks for it, where a kill took the id of an upload that had just begun."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "GET" and "uploads" in asked.query:
            more = f"<NextKeyMarker>{next(NUMBERS)}</NextKeyMarker><NextUploadIdMarker>{next(NUMBERS)}</NextUploadIdMarker>"
            return xml("ListMultipartUploadsResult", f"<IsTruncated>true</IsTruncated>{more}")
        return pass_on(asked)

    with proxied(app.ctx.store.address, rule) as address:
        store = ObjectStore(address, timeout_seconds=2)
        with pytest.raises(StorageUnavailable):
            store.abort_all_multiparts("a")
        with pytest.raises(StorageUnavailable):
            list(listing.multiparts(store))


HEADERS = {
    "a range beyond all": {"Content-Range": f"bytes 0-0/{'9' * 5000}"},
    "digits that are none of ours": {"Content-Range": "bytes 0-0/\u0663".encode().decode("latin-1")},
    "an ETag without end": {"ETag": f'"{"e" * 5000}"'},
    "an ETag with a line feed in it": {"ETag": '"e\x1b[31m"'},
}


@pytest.mark.parametrize("lie", HEADERS)
def test_headers_of_an_object(app: App, lie: str) -> None:
    file = upload(app, app.caller)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        kept = {name: value for name, value in answered.headers.items() if name.lower() not in {n.lower() for n in HEADERS[lie]}}
        return replace(answered, headers=kept | HEADERS[lie])

    with proxied(app.ctx.store.address, rule) as address:
        store = ObjectStore(address, timeout_seconds=2)
        for call in (lambda: store.head(file.key), lambda: store.read_piece(file.key, 0, 1)):
            with pytest.raises(StorageUnavailable):
                call()


def test_an_upload_that_has_begun_without_an_id(app: App) -> None:
    for inner in ("", f"<UploadId>{'u' * 100_000}</UploadId>"):

        def rule(asked: Asked, pass_on: PassOn, inner: str = inner) -> Answered:
            return xml("InitiateMultipartUploadResult", inner)

        with proxied(app.ctx.store.address, rule) as address, pytest.raises(StorageUnavailable):
            ObjectStore(address, timeout_seconds=2).create_multipart("a", "a/b", "inline")


def test_a_key_does_nothing_to_the_terminal(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    key = f"{app.project.id}/default/{new_id()}/a\x1b]0;owned\x07\r\n\u202eb"
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=key, Body=b"stray")
    try:
        report = reconcile.compare(app.ctx)
        assert key in {finding.key for finding in report.findings}
        storage._show_report(report)
        reported = capsys.readouterr().out
        assert all(line.isprintable() for line in reported.split("\n"))
        assert "\\x1b]0;owned" in reported
    finally:
        app.ctx.store.delete(key)
    assert key not in objects(app)


def test_a_million_keys_of_somebody_elses(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of it, in this test: that the memory does not grow with them is what counts."""
    import tracemalloc

    upload(app, app.caller)
    real = listing.objects

    def pages(store: ObjectStore) -> Iterator[list[listing.ListedObject]]:
        yield from real(store)
        for start in range(0, 100_000, 1000):
            yield [listing.ListedObject(f"other/{start + i:090}", 1, "e" * 32, 1) for i in range(1000)]

    monkeypatch.setattr(reconcile.listing, "objects", pages)
    tracemalloc.start()
    report = reconcile.compare(app.ctx)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.not_ours >= 100_000
    assert peak < 12 * MIB


SENT = {"bytes": 0}


def other_bytes(answered: Answered) -> Answered:
    return replace(answered, body=bytes(255 - byte for byte in answered.body))


def another_range(answered: Answered) -> Answered:
    return replace(answered, headers=answered.headers | {"Content-Range": f"bytes 7-{6 + len(answered.body)}/{13 * MIB}"})


def another_object(answered: Answered) -> Answered:
    kept = {name: value for name, value in answered.headers.items() if name.lower() != "etag"}
    return replace(answered, headers=kept | {"ETag": '"0123456789abcdef0123456789abcdef"'})


def too_many_bytes(answered: Answered) -> Answered:
    def sent() -> Iterator[bytes]:
        yield b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n"
        yield b"".join(f"{n}: {answered.headers[n]}\r\n".encode() for n in answered.headers if n.lower() in ("etag", "content-range"))
        yield b"\r\n"
        for _ in range(64 * MIB // 0x10000):
            SENT["bytes"] += 0x10000
            yield b"10000\r\n" + bytes(0x10000) + b"\r\n"

    return replace(answered, raw=sent())


READS = {
    "other bytes": other_bytes,
    "another range": another_range,
    "another object": another_object,
    "bytes without end": too_many_bytes,
    "half of it": lambda answered: replace(answered, body=answered.body[: len(answered.body) // 2]),
}


@pytest.mark.parametrize("in_parts", [False, True], ids=["single", "parts"])
@pytest.mark.parametrize("lie", READS)
def test_nothing_but_what_was_verified_is_copied_to_another_store(app: App, tmp_path: Path, lie: str, in_parts: bool) -> None:
    """`storage copy` takes over the ETag that the target has: what came wrong once would count as right from then on."""
    if in_parts:
        facts = sent_in_parts(app, app.caller)
        file = multipart_upload.complete_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"], None, {})
    else:
        file = upload(app, app.caller, b"12345" * 100)
    target_key = f"{file.key}-at-the-target"

    class Target(ObjectStore):
        """The same bucket, other keys: what arrives is looked for below."""

        def put(self, key: str, *arguments: Any) -> str:
            return super().put(target_key, *arguments)

        def create_multipart(self, key: str, *arguments: Any) -> str:
            return super().create_multipart(target_key, *arguments)

        def put_part(self, key: str, upload_id: str, number: int, body: IO[bytes], md5: str) -> str:
            return super().put_part(target_key, upload_id, number, body, md5)

        def complete_multipart(self, key: str, *arguments: Any) -> bool:
            return super().complete_multipart(target_key, *arguments)

        def abort_multipart(self, key: str, upload_id: str) -> None:
            super().abort_multipart(target_key, upload_id)

        def head(self, key: str, first_bytes: int = 4096) -> StoredObject | None:
            return super().head(target_key, first_bytes)

        def delete(self, key: str) -> None:
            super().delete(target_key)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        is_look = asked.headers.get("Range") == "bytes=0-0"
        return READS[lie](answered) if asked.method == "GET" and answered.status == 206 and not is_look else answered

    def copy(source: ObjectStore) -> str:
        assert file.etag
        size, parts = file.size_bytes, file.part_size_bytes
        options = {"spool": tmp_path, "is_digest": lambda stored: True}
        return transfer.copy_object(source, target, file.key, size, file.etag, parts, "image/jpeg", "inline", **options)

    SENT["bytes"] = 0
    straight = app.ctx.store
    target = Target(straight.address)
    with proxied(straight.address, rule) as address:
        with pytest.raises((transfer.SourceChanged, StorageUnavailable)):
            copy(ObjectStore(address, timeout_seconds=2))
        assert target.head(file.key) is None
        assert not [begun for begun in listing.multiparts(straight) if begun.key == target_key]
    assert SENT.pop("bytes") < 32 * MIB, "more than was asked for is not taken in, and written down"
    assert copy(straight) == file.etag
    target.delete(file.key)


def test_a_document_of_entities_is_none(app: App) -> None:
    """Ten megabytes whose names stand for a gigabyte, in each encoding that a parser finds out by itself."""
    names = "".join(f"&a;{number}" for number in range(90))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{"a" * 10 * MIB}">]><ListBucketResult><Name>{names}</Name></ListBucketResult>'

    for encoding in ("utf-8", "utf-16"):

        def rule(asked: Asked, pass_on: PassOn, encoding: str = encoding) -> Answered:
            return Answered(200, {"Content-Type": "application/xml"}, text.encode(encoding))

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with proxied(app.ctx.store.address, rule) as address, pytest.raises(StorageUnavailable):
            next(listing.objects(ObjectStore(address, timeout_seconds=10)))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024, "kilobytes"


@pytest.mark.parametrize("status", [200, 403])
def test_a_document_of_very_many_tags_is_none(app: App, status: int) -> None:
    """Sixty megabytes of them took 1.8 GB, and for two minutes nobody else could do anything."""
    text = b"<ListBucketResult>" + b"<a/>" * (15 * MIB) + b"</ListBucketResult>"
    with proxied(app.ctx.store.address, lambda asked, pass_on: Answered(status, {"Content-Type": "application/xml"}, text)) as address:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with pytest.raises(StorageUnavailable):
            next(listing.objects(ObjectStore(address, timeout_seconds=10)))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024, "kilobytes"
        assert time.process_time() - began < 15


@pytest.mark.parametrize("depth", [2_000, 400_000])
@pytest.mark.parametrize("call", ["list", "read", "look at", "delete"])
def test_an_error_within_errors_is_one(app: App, call: str, depth: int) -> None:
    """boto3 reads an error by as many calls of itself as it is deep."""
    text = b"<Error><Code>a</Code>" + b"<a>" * depth + b"</a>" * depth + b"</Error>"
    calls = {
        "list": lambda store: next(listing.objects(store)),
        "read": lambda store: list(store.read("a", "e", 0, 9, 9)),
        "look at": lambda store: store.head("a"),
        "delete": lambda store: store.delete("a"),
    }
    with (
        proxied(app.ctx.store.address, lambda asked, pass_on: Answered(400, {"Content-Type": "application/xml"}, text)) as address,
        pytest.raises(StorageUnavailable),
    ):
        calls[call](ObjectStore(address, timeout_seconds=10))


def test_parts_of_the_future_put_no_deadline_off_for_ever(app: App) -> None:
    facts = sent_in_parts(app, app.caller)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        is_list = asked.method == "GET" and "uploadId" in asked.query
        return xml("ListPartsResult", part(1, LastModified="9999-01-01T00:00:00.000Z")) if is_list else pass_on(asked)

    with proxied(app.ctx.store.address, rule) as address:
        straight, app.ctx.store = app.ctx.store, ObjectStore(address, timeout_seconds=2)
        with travelled_to(clock.now_ms() + 86_400_000):
            sweeper.sweep_due(app.ctx)
            deadline_at = File.get_by_id(facts["id"]).deadline_at
            assert deadline_at <= clock.now_ms() + app.ctx.config.housekeeping.abandoned_upload_seconds * 1000
        app.ctx.store = straight
    multipart_upload.abort_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"])
