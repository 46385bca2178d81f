"""A store that speaks S3 and lies: every loop over its answers ends, none is a traceback, and nothing it says is done to the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.conftest import House
from tests.faults.test_kill_steps import sent_in_parts
from tests.store_proxy import Answered, Asked, PassOn, proxied
from tests.test_housekeeping import objects
from tests.test_usage import upload
from uploadkit import cli_storage, clock, housekeeping, multipart, reconcile, storage_copy
from uploadkit.db import new_id
from uploadkit.errors import StorageUnavailable
from uploadkit.models import File
from uploadkit.storage import listing
from uploadkit.storage.s3 import ObjectStore

NUMBERS = itertools.count()
MIB = 1024**2
TIME = "2026-01-01T00:00:00.000Z"


def xml(root: str, inner: str) -> Answered:
    body = f'<?xml version="1.0"?><{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{root}>'
    return Answered(200, {"Content-Type": "application/xml"}, body.encode())


def item(key: str) -> str:
    said = f"<Size>1</Size><ETag>&quot;e&quot;</ETag><LastModified>{TIME}</LastModified>"
    return f"<Contents><Key>{key}</Key>{said}</Contents>"


def part(number: object, **more: str) -> str:
    said = {"PartNumber": number, "Size": 1, "ETag": "e", "LastModified": "2026-01-01T00:00:00.000Z"} | more
    return "<Part>" + "".join(f"<{name}>{value}</{name}>" for name, value in said.items() if value != "") + "</Part>"


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
def test_listings(house: House, lie: str) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return LISTINGS[lie]() if "list-type" in asked.query else pass_on(asked)

    with proxied(house.ctx.store.address, rule) as address:
        house.ctx.store = ObjectStore(address, timeout_seconds=2)
        with pytest.raises(StorageUnavailable):
            reconcile.compare(house.ctx)
        with pytest.raises(StorageUnavailable):
            storage_copy.clear_target(house.ctx.store)


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
def test_lists_of_parts(house: House, lie: str) -> None:
    facts = sent_in_parts(house, house.caller)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return PARTS[lie]() if asked.method == "GET" and "uploadId" in asked.query else pass_on(asked)

    with proxied(house.ctx.store.address, rule) as address:
        straight, house.ctx.store = house.ctx.store, ObjectStore(address, timeout_seconds=2)
        with pytest.raises(StorageUnavailable):
            multipart.complete_multipart(house.ctx, house.caller, facts["id"], facts["upload_id"], None, {})
        with clock.travelled_to(clock.now_ms() + 86_400_000):
            housekeeping.sweep_due(house.ctx)
        assert File.get_by_id(facts["id"]).status == "UPLOADING", "no upload ends by an answer that is none"
        house.ctx.store = straight
    multipart.complete_multipart(house.ctx, house.caller, facts["id"], facts["upload_id"], None, {})


def test_a_list_of_multiparts_without_end(house: House) -> None:
    """The sweeper asks for it, where a kill took the id of an upload that had just begun."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "GET" and "uploads" in asked.query:
            more = f"<NextKeyMarker>{next(NUMBERS)}</NextKeyMarker><NextUploadIdMarker>{next(NUMBERS)}</NextUploadIdMarker>"
            return xml("ListMultipartUploadsResult", f"<IsTruncated>true</IsTruncated>{more}")
        return pass_on(asked)

    with proxied(house.ctx.store.address, rule) as address:
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
def test_headers_of_an_object(house: House, lie: str) -> None:
    file = upload(house, house.caller)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        kept = {name: value for name, value in answered.headers.items() if name.lower() not in {n.lower() for n in HEADERS[lie]}}
        return replace(answered, headers=kept | HEADERS[lie])

    with proxied(house.ctx.store.address, rule) as address:
        store = ObjectStore(address, timeout_seconds=2)
        for call in (lambda: store.look_at(file.key), lambda: store.read_piece(file.key, 0, 1)):
            with pytest.raises(StorageUnavailable):
                call()


def test_an_upload_that_has_begun_without_an_id(house: House) -> None:
    for inner in ("", f"<UploadId>{'u' * 100_000}</UploadId>"):

        def rule(asked: Asked, pass_on: PassOn, inner: str = inner) -> Answered:
            return xml("InitiateMultipartUploadResult", inner)

        with proxied(house.ctx.store.address, rule) as address, pytest.raises(StorageUnavailable):
            ObjectStore(address, timeout_seconds=2).create_multipart("a", "a/b", "inline")


def test_a_key_does_nothing_to_the_terminal(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    key = f"{house.project.id}/default/{new_id()}/a\x1b]0;owned\x07\r\n\u202eb"
    house.ctx.store._client.put_object(Bucket=house.ctx.store.address.bucket, Key=key, Body=b"stray")
    try:
        report = reconcile.compare(house.ctx)
        assert key in {finding.key for finding in report.findings}
        cli_storage._show_report(report)
        told = capsys.readouterr().out
        assert all(line.isprintable() for line in told.split("\n"))
        assert "\\x1b]0;owned" in told
    finally:
        house.ctx.store.delete(key)
    assert key not in objects(house)


def test_a_million_keys_of_somebody_elses(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of it, in this test: that the memory does not grow with them is what counts."""
    import tracemalloc

    upload(house, house.caller)
    real = listing.objects

    def pages(store: ObjectStore) -> Iterator[list[listing.ListedObject]]:
        yield from real(store)
        for start in range(0, 100_000, 1000):
            yield [listing.ListedObject(f"other/{start + i:090}", 1, "e" * 32, 1) for i in range(1000)]

    monkeypatch.setattr(reconcile.listing, "objects", pages)
    tracemalloc.start()
    report = reconcile.compare(house.ctx)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.not_ours >= 100_000
    assert peak < 12 * MIB
