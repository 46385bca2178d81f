"""The checks of `x-amz-*` headers that a URL's signature does not cover: who obeys them lets a visitor do more than the URL allows.

The worst is `x-amz-copy-source`, which turns an upload into a copy, made with the appliance's rights, of any object that these reach. Each
header goes with a request that is good without it; what came of it is seen by the object itself, and not by the answer alone.
Source: AWS, "Authenticating Requests: Using Query Parameters" (every `x-amz-*` header has to be signed); docs/storage.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

from uploadkit.core.errors import InvalidParts
from uploadkit.core.etags import plain_etag
from uploadkit.objectstore import forged_writes
from uploadkit.objectstore.address import object_url
from uploadkit.objectstore.boto import AccessDenied, StorageRefused
from uploadkit.objectstore.doctor.examination import TYPE, Answer, Examination, Finding, Unclear

COPY_SOURCE = "x-amz-copy-source"
Outcome = Literal["refused", "ignored", "obeyed", "unclear"]
# Of one length, so that a URL for one is a URL for the other.
_SENT, _OTHERS, _NOTHING = b"what was sent on", b"secret of others", b""
_TYPED = {"Content-Type": TYPE}
_ETAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([0-9a-f-]{32,40})")
_CHOSEN_ETAG = "0" * 31 + "1"
_EVERYBODY = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
_HEADERS = {
    "x-amz-acl": "public-read",
    "x-amz-grant-read": _EVERYBODY,
    "x-amz-tagging": "doctor=1",
    "x-amz-website-redirect-location": "https://doctor.example/",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-meta-doctor": "1",
    # MinIO: an ETag of the uploader's choice. What is copied after it was looked at is known by its ETag.
    "x-minio-source-etag": _CHOSEN_ETAG,
}
_STRIP = "Install a build that refuses headers which are not signed, or have the proxy in front of it remove them (docs/storage.md)"


def copy_source(ex: Examination) -> Finding:
    """Does an upload URL become a copy of somebody else's object by a header that is not signed?

    Where it does, and where a URL can be signed so that it does not, URLs are signed so from here on.
    """
    name = "copy-source"
    victim = ex.key("victim")
    ex.must("PUT", ex.signed_put(victim), _OTHERS, _TYPED)
    found = _copies(ex, victim, ex.barred)
    if "obeyed" in found.values() and ex.expected.bar_headers == "auto":
        barred = (*ex.barred, COPY_SOURCE)
        if _takes_uploads(ex, barred) and set(_copies(ex, victim, barred).values()) <= {"refused"}:
            ex.barred = barred
            return Finding(
                name,
                "warning",
                f"the store obeys {COPY_SOURCE} on an upload URL although nobody signed it: who has one could read every object. URLs are "
                "signed so that it refuses that (bar_headers)",
                "Install a build that refuses headers which are not signed; MinIO's fork silo does since September 2026",
            )
    for tried, outcome in found.items():
        if outcome == "obeyed":
            return Finding(
                name,
                "failed",
                f"the store obeys {tried} although nobody signed it: who has one upload URL reads every object that the appliance can",
                "Stop using this store now and install a build that refuses it; or give the appliance a second pair of credentials that "
                f"can't read ({ex.expected.section}.upload_access_key_id), or have a proxy remove the header (docs/storage.md)",
            )
    for tried, outcome in found.items():
        if outcome == "unclear":
            return Unclear(
                name, "warning", f"the store gives no clear answer to {tried}", "Run doctor again; if it stays so, ask the provider"
            )
    return Finding(name, "ok", f"an upload URL can't be turned into a copy by {COPY_SOURCE}")


def _copies(ex: Examination, victim: str, barred: Sequence[str]) -> dict[str, Outcome]:
    source = f"{ex.address.bucket}/{victim}"
    return {
        f"{COPY_SOURCE} on an upload": _upload(ex, {COPY_SOURCE: f"/{source}"}, barred),
        f"{COPY_SOURCE} with another metadata directive": _upload(ex, {COPY_SOURCE: source, "x-amz-metadata-directive": "REPLACE"}, barred),
        f"{COPY_SOURCE} on a part": _part(ex, {COPY_SOURCE: f"/{source}"}, barred),
        f"{COPY_SOURCE} with a range on a part": _part(
            ex, {COPY_SOURCE: f"/{source}", f"{COPY_SOURCE}-range": f"bytes=0-{len(_OTHERS) - 1}"}, barred
        ),
    }


def _takes_uploads(ex: Examination, barred: Sequence[str]) -> bool:
    """Say whether an honest PUT and an honest part come through by URLs that bar these headers."""
    part, key = _part(ex, {}, barred), ex.fresh_key("target")
    answer = ex.send("PUT", ex.signed_put(key, barred=barred), _SENT, _TYPED)
    return answer.is_success and part == "ignored" and _content(ex, key) == _SENT


def other_headers(ex: Examination) -> Finding:
    """Does the store obey other headers that nobody signed: access, tags, redirects?"""
    name = "unsigned-headers"
    found = {header: _upload(ex, {header: value}, ex.barred) for header, value in _HEADERS.items()}
    obeyed = [header for header, outcome in found.items() if outcome == "obeyed"]
    if obeyed and ex.expected.bar_headers == "auto" and not any(header.startswith("x-amz-meta-") for header in obeyed):
        barred = (*ex.barred, *obeyed)
        if _takes_uploads(ex, barred) and all(_upload(ex, {header: _HEADERS[header]}, barred) == "refused" for header in obeyed):
            ex.barred = barred
            detail = f"the store obeys {', '.join(obeyed)} although nobody signed that. URLs are signed so that it refuses them"
            return Finding(name, "warning", f"{detail} ({ex.expected.section}.bar_headers)", _STRIP)
    if opened := [header for header in obeyed if header in ("x-amz-acl", "x-amz-grant-read")]:
        detail = f"the store obeys {opened[0]} although nobody signed it: an uploader can show the world what nobody has verified"
        return Finding(name, "failed", detail, _STRIP)
    if obeyed:
        return Finding(name, "warning", f"the store obeys {', '.join(obeyed)} although nobody signed that", _STRIP)
    if unclear := [header for header, outcome in found.items() if outcome == "unclear"]:
        return Unclear(name, "warning", f"the store gives no clear answer to an unsigned {unclear[0]}", "Run doctor again")
    return Finding(name, "ok", "access, tags, redirects and the like can't be set by headers that nobody signed")


def _upload(ex: Examination, headers: Mapping[str, str], barred: Sequence[str]) -> Outcome:
    """PUT an object, and then another with `headers` that are not signed; say what the store made of them."""
    plain, key = ex.fresh_key("plain"), ex.fresh_key("target")
    ex.must("PUT", ex.signed_put(plain, barred=barred), _SENT, _TYPED)
    was_open = "x-amz-acl" in headers and _is_open(ex, plain)
    answer = _asked(ex, ex.signed_put(key, barred=barred), {**_TYPED, **headers})
    content = _content(ex, key)
    if content == _OTHERS:
        return "obeyed"
    if content == _NOTHING and answer.status in forged_writes.REFUSALS:
        return "refused"
    if COPY_SOURCE not in headers and not forged_writes.is_passing(answer.status):
        # The PUT before was good without the header: whatever the answer is, it is about the header.
        if content == _SENT:
            return "obeyed" if not was_open and _shows(ex, key, headers) else "ignored"
        if content == _NOTHING and not answer.is_success:
            return "refused"
    return "ignored" if content == _SENT and answer.is_success else "unclear"


def _part(ex: Examination, headers: Mapping[str, str], barred: Sequence[str]) -> Outcome:
    """PUT a part with `headers` that are not signed, have it put together, and say what the store made of them."""
    key = ex.fresh_key("target-of-parts")
    upload_id = ex.begin_multipart(key)
    answer = _asked(ex, ex.signed_part(key, upload_id, barred=barred), headers)
    if answer.status in forged_writes.REFUSALS:
        return "refused"
    found = _ETAG.search(answer.body)
    etag = plain_etag(answer.headers.get("ETag", "")) or (found[1].decode() if found else "")
    content = b""
    with suppress(InvalidParts, StorageRefused):
        if answer.is_success and ex.store.complete_multipart(key, upload_id, len(_SENT), [(1, etag)]):
            content = _content(ex, key)
    if content == _OTHERS or b"<CopyPartResult" in answer.body:
        return "obeyed"
    return "ignored" if content == _SENT else "unclear"


def _asked(ex: Examination, url: str, headers: Mapping[str, str]) -> Answer:
    return forged_writes.asked_again(lambda: ex.send("PUT", url, _SENT, headers), lambda answer: forged_writes.is_passing(answer.status))


def _content(ex: Examination, key: str) -> bytes:
    try:
        stored = ex.store.head(key)
    except AccessDenied:  # AWS says so of what is not there, without s3:ListBucket
        return _NOTHING
    return stored.first_bytes if stored is not None else _NOTHING


def _shows(ex: Examination, key: str, headers: Mapping[str, str]) -> bool:
    """Say whether an object shows that headers were obeyed."""
    (header,) = headers
    if header == "x-minio-source-etag":
        stored = ex.store.head(key, 1)
        return stored is not None and stored.etag == _CHOSEN_ETAG
    if header in ("x-amz-acl", "x-amz-grant-read"):
        return _is_open(ex, key)
    found = ex.must("GET", ex.signed("GET", key)).headers
    if header == "x-amz-tagging":
        with suppress(AccessDenied, StorageRefused):
            return bool(ex.store.ask("get_object_tagging", Key=key).get("TagSet"))
        return found.get("x-amz-tagging-count", "0") != "0"
    return found.get(header) == headers[header]


def _is_open(ex: Examination, key: str) -> bool:
    return ex.send("GET", object_url(ex.address.base_url(ex.client_endpoint), key)).is_success
