"""The players themselves: each checks signatures, and refuses what its provider refuses, in its words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from botocore.exceptions import ClientError

from tests.providers import profiles
from tests.providers.playing import BUCKET, KEY_ID, SECRET, Stage, on_stage
from tests.providers.profiles import Profile
from tests.support.appliance import ROOT
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.sigv4 import Signer
from uploadkit.objectstore.store import ObjectStore


@pytest.fixture
def clients(stage: Stage) -> Iterator[Any]:
    found = stage.browser(urllib3.PoolManager())
    yield found
    found.clear()


def now_ms(offset_seconds: float = 0) -> int:
    return int((time.time() + offset_seconds) * 1000)


def code_of(answer: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    found = answer.data.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    return answer.status, found


def put_url(address: StoreAddress, key: str = "pending/a", *, at: float = 0, **more: Any) -> str:
    signer = more.pop("signer", None) or address.upload_signer(address.public_endpoint)
    headers = {"content-length": "3", **more.pop("extra", {})}
    return signer.presign("PUT", key, at_ms=now_ms(at), expires_seconds=60, headers=headers, **more)


def test_each_provider_has_its_own_place_and_only_signed_requests_get_in(stage: Stage, address: StoreAddress, clients: Any) -> None:
    profile, good = stage.profile, put_url(address)
    assert profile.host in good
    assert (f"{BUCKET}.{profile.host}" in good) == (profile.name == "aws"), "addressing"
    assert clients.request("PUT", good, body=b"abc").status == 200
    assert (
        clients.request("GET", address.signer(address.endpoint).presign("GET", "pending/a", at_ms=now_ms(), expires_seconds=9)).data
        == b"abc"
    )
    base = address.base_url(address.endpoint)
    wrong = Signer(base, address.region, KEY_ID, SECRET + "!")
    outsider = Signer(base, address.region, "SOMEBODYELSE", SECRET)
    elsewhere = Signer(base, "mars-1", KEY_ID, SECRET)
    for url, refusal in (
        (put_url(address, signer=wrong), profile.refusal("signature")),
        (good[:-1] + ("0" if good[-1] != "0" else "1"), profile.refusal("signature")),
        (good.replace("pending/a", "pending/b"), profile.refusal("signature")),
        (put_url(address, signer=outsider), profile.refusal("unknown-key")),
        (put_url(address, at=-100), profile.refusal("expired")),
        (good.partition("?")[0], profile.refusal("unsigned")),
    ):
        assert code_of(clients.request("PUT", url, body=b"abc")) == refusal, url
    if profile.regions:
        assert code_of(clients.request("PUT", put_url(address, signer=elsewhere), body=b"abc"))[0] == 400
    assert code_of(clients.request("PUT", good, body=b"abcd")) == profile.refusal("signature"), "another length"
    assert code_of(clients.request("PUT", good, body=b"abc", headers={"x-amz-copy-source": f"{BUCKET}/x"})) == (403, "AccessDenied")


def test_checksums_are_refused_by_those_who_know_none(stage: Stage, address: StoreAddress, clients: Any) -> None:
    crc = {"x-amz-checksum-crc32": "NSRBwg=="}  # of "abc"
    answer = clients.request("PUT", put_url(address, extra=crc), body=b"abc", headers=crc)
    assert code_of(answer) == stage.profile.refused_headers.get("x-amz-checksum-", (200, ""))


def test_what_was_uploaded_in_parts_reads_back_and_is_listed(stage: Stage, address: StoreAddress, tmp_path: Path) -> None:
    store, clients = ObjectStore(address), stage.browser(urllib3.PoolManager())
    upload_id = store.create_multipart("p/r/f/x", "video/mp4", "inline")
    parts = (b"a" * 5 * MIB, b"b" * 5 * MIB, b"c")
    etags = []
    for number, part in enumerate(parts, 1):
        url = store.presign_part("p/r/f/x", upload_id, number, len(part), now_ms(), 60)
        etags.append(clients.request("PUT", url, body=part).headers["ETag"].strip('"'))
    listed = store.list_parts("p/r/f/x", upload_id) or []
    assert [(part.number, part.size_bytes, part.etag) for part in listed] == [
        (n, len(p), e) for n, (p, e) in enumerate(zip(parts, etags, strict=True), 1)
    ]
    assert store.complete_multipart("p/r/f/x", upload_id, 10 * MIB + 1, list(enumerate(etags, 1)))
    stored = store.head("p/r/f/x")
    assert stored is not None
    assert (stored.size_bytes, stored.content_type) == (10 * MIB + 1, "video/mp4")
    assert b"".join(store.read("p/r/f/x", stored.etag, 0, 10 * MIB + 1, MIB)) == b"".join(parts)
    assert [item["ETag"] for item in store.ask("list_objects_v2")["Contents"]] == [f'"{stored.etag}"']
    assert not store.complete_multipart("p/r/f/x", upload_id, 1, [(1, etags[0])]), "no such upload any more"
    clients.clear()


@pytest.fixture
def r2(behind: Callable[[str], StoreAddress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, StoreAddress]]:
    yield from played(profiles.R2, behind, tmp_path, monkeypatch)


def played(
    profile: Profile, behind: Callable[[str], StoreAddress], home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Stage, StoreAddress]]:
    with on_stage(profile, behind(f"one-{profile.name}-{uuid4().hex}"), home) as stage:
        yield stage, stage.address(monkeypatch)


def test_r2_wants_equal_parts(r2: tuple[Stage, StoreAddress]) -> None:
    stage, address = r2
    store, clients = ObjectStore(address), stage.browser(urllib3.PoolManager())
    for sizes, good in (((5 * MIB, 6 * MIB, 1), False), ((5 * MIB, 5 * MIB + 1), False), ((5 * MIB, 5 * MIB), True)):
        upload_id = store.create_multipart("k", "a/b", "inline")
        etags = [
            clients.request("PUT", store.presign_part("k", upload_id, n, size, now_ms(), 60), body=b"x" * size).headers["ETag"]
            for n, size in enumerate(sizes, 1)
        ]
        named = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]}
        if good:
            store._slow_client.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload_id, MultipartUpload=named)
        else:
            with pytest.raises(ClientError, match="InvalidPart"):
                store._slow_client.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload_id, MultipartUpload=named)
    clients.clear()


def test_r2_takes_one_write_a_second_to_a_key(r2: tuple[Stage, StoreAddress]) -> None:
    stage, address = r2
    with urllib3.ProxyManager(stage.proxy, ca_certs=str(stage.ca_bundle)) as pool:
        first, second = (pool.request("PUT", put_url(address), body=b"abc", retries=False) for _ in range(2))
        other = pool.request("PUT", put_url(address, "pending/other"), body=b"abc", retries=False)
    assert (first.status, code_of(second), other.status) == (200, (429, "TooManyRequests"), 200)


def test_the_certificate_is_trusted_by_those_only_who_are_told_to(r2: tuple[Stage, StoreAddress]) -> None:
    stage, address = r2
    with urllib3.ProxyManager(stage.proxy) as pool, pytest.raises(urllib3.exceptions.MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
        pool.request("PUT", put_url(address), body=b"abc")


def test_all_six_are_played() -> None:
    text = (ROOT / "docs" / "storage.md").read_text()
    assert [f"### {profile.heading}\n" in text for profile in profiles.ALL.values()] == [True] * 6
