"""The checks of what the store has to refuse: forged and altered requests, and readers without a permission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import urlsplit

import urllib3

from uploadkit.core import clock
from uploadkit.objectstore import forged_writes
from uploadkit.objectstore.address import object_url
from uploadkit.objectstore.boto import AccessDenied, tls_trouble
from uploadkit.objectstore.doctor.examination import BODY, TYPE, Answer, Examination, Finding, Unclear
from uploadkit.objectstore.plain_http import UNDECODABLE

_UNSOUND = "Take another store, or a newer build of this one: it does not hold uploads to what their URLs were signed for"
_TYPED = {"Content-Type": TYPE}
_VISIBLE = "unverified objects under pending/, joined parts that are not verified yet (up to a minute), files of private file routes"


def wrong_length(ex: Examination) -> Finding:
    """Is a body refused that is longer or shorter than signed?"""
    url = ex.signed_put(ex.key("refused"))
    return _all_refused(
        "wrong-length",
        "a body of another length than signed",
        (ex.send("PUT", url, body, _TYPED) for body in (BODY + b"!", BODY[1:], b"")),
    )


def wrong_type(ex: Examination) -> Finding:
    """Is another type refused than the one signed?"""
    url = ex.signed_put(ex.key("refused"))
    answers = (ex.send("PUT", url, BODY, headers) for headers in ({"Content-Type": "text/html"}, {}))
    return _all_refused("wrong-type", "another type than signed, or none", answers)


def tampered_signature(ex: Examination) -> Finding:
    """Is an altered URL refused?"""
    url = ex.signed_put(ex.key("refused"))
    turned = url[:-1] + ("0" if url[-1] != "0" else "1")
    moved = url.replace(object_url("", ex.key("refused")), object_url("", ex.key("elsewhere")), 1)
    answers = (ex.send("PUT", altered, BODY, _TYPED) for altered in (turned, moved))
    return _all_refused("tampered-signature", "a signature with one digit changed, or for another key", answers)


def expired_url(ex: Examination) -> Finding:
    """Is a URL refused whose time is over?"""
    url = ex.signed_put(ex.key("refused"), at_ms=clock.now_ms() - clock.HOUR_MS)
    return _all_refused("expired-url", "a URL that expired some 55 minutes ago", [ex.send("PUT", url, BODY, _TYPED)])


def _all_refused(name: str, what: str, answers: Iterator[Answer] | list[Answer]) -> Finding:
    for answer in answers:
        if answer.is_success:
            return Finding(name, "failed", f"the store takes {what}", _UNSOUND)
        if not answer.is_refusal:
            return Finding(name, "warning", f"the store gives no clear answer to {what}: {answer}", "Run doctor again")
    return Finding(name, "ok", f"the store refuses {what}")


def forged(ex: Examination) -> Finding:
    """Are writes refused that nobody signed?"""
    address, key, unpacked = ex.address, ex.key("forged"), ex.key("forged-unpacked")
    url = object_url(address.base_url(ex.client_endpoint), key)
    unclear = ""

    def put(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        return ex.send("PUT", url, body, headers).status

    suggestion = "Stop using this store and install a build that refuses it: anybody who has seen one of its URLs can write to the bucket"
    for key_id in filter(None, (address.access_key_id, address.upload_access_key_id)):
        for name, status in forged_writes.forgery_answers(url, key_id, address.region, unpacked, put):
            if 200 <= status < 300:
                return Finding("forged", "failed", f"the store takes {name}", suggestion)
            if status not in forged_writes.REFUSALS:
                unclear = unclear or f"{name}: HTTP {status}"
    if _is_there(ex, key) or _is_there(ex, unpacked):
        return Finding("forged", "failed", "the store has kept a forged write, although its answer was a refusal", suggestion)
    if unclear:
        suggestion = "Run doctor again; if it stays so, ask the provider whether it refuses requests with a wrong signature"
        return Unclear("forged", "warning", f"the store took no forged write, but gives no clear answer to {unclear}", suggestion)
    return Finding("forged", "ok", "the store refuses every forged write that is known")


def bent_query(ex: Examination) -> Finding:
    """Does an upload URL stay what it is, whatever is added to its query, and whatever a header says of its path?

    SeaweedFS checks the signature without what it can't decode, and chooses what to do by that: here the URL of a part, of an upload that
    is not there, is to become a PUT of the whole object. And it takes the path's beginning from a header: the second is to write elsewhere.
    Source: docs/decisions/0040-a-gate-before-s3.md.
    """
    name, bent, inner, outer = "bent-query", ex.fresh_key("bent"), ex.fresh_key("bent-inner"), ex.fresh_key("bent-outer")
    by_query = ex.signed_part(bent, "none").replace("?", f"?{UNDECODABLE}partNumber=x&", 1)
    base = urlsplit(ex.address.base_url(ex.client_endpoint)).path
    signed = urlsplit(ex.signed_put(f"{outer}{base}/{inner}"))
    by_header = signed._replace(path=object_url(base, inner)).geturl()
    tried: list[tuple[str, str, Mapping[str, str]]] = [
        (bent, by_query, {}),
        (inner, by_header, {**_TYPED, "X-Forwarded-Prefix": object_url(base, outer)}),
    ]
    unclear = ""
    for key, url, headers in tried:
        answer = forged_writes.asked_again(
            partial(ex.send, "PUT", url, BODY, headers), lambda answer: forged_writes.is_passing(answer.status)
        )
        if _is_there(ex, key):
            return Finding(
                name,
                "failed",
                "the store takes an upload URL for another request than was signed, by something in its query that can't be decoded or by "
                "X-Forwarded-Prefix: who has the URL of a part replaces the whole file, also after it was verified",
                "Have a proxy refuse queries with a ; or with escapes that can't be decoded, and remove that header (docs/storage.md), or "
                "take another store",
            )
        if not answer.is_refusal:
            unclear = unclear or str(answer)
    if unclear:
        return Unclear(name, "warning", f"the store gives no clear answer to a URL that was changed: {unclear}", "Run doctor again")
    return Finding(name, "ok", "an upload URL can't be bent into another request")


def _is_there(ex: Examination, key: str) -> bool:
    try:
        return ex.store.head(key, 1) is not None
    except AccessDenied:  # see the check of the bucket
        return False


def upload_credentials(ex: Examination) -> Finding:
    """Can the second pair of credentials write, and nothing else? That it writes, `put` has shown: URLs for uploads are signed by it."""
    name, address, key = "upload-credentials", ex.address, ex.key("object")
    if address.upload_access_key_id is None:
        return Finding(name, "skipped", f"{ex.expected.section}.upload_access_key_id is not set")
    signer = address.upload_signer(ex.client_endpoint)

    def allows(method: str, key: str, query: Mapping[str, str]) -> bool:
        url = signer.presign(method, key, at_ms=clock.now_ms(), expires_seconds=60, query=query)
        return ex.send(method, url).status not in forged_writes.REFUSALS

    asked: dict[str, tuple[str, str, dict[str, str]]] = {
        "read": ("GET", key, {}),
        "list": ("GET", "", {"list-type": "2", "max-keys": "1"}),
        "delete": ("DELETE", ex.key("not-deleted"), {}),
    }
    if found := [what for what, request in asked.items() if allows(*request)]:
        detail = f"the second pair of credentials may {', '.join(found)}: it is there to write only"
        return Finding(name, "failed", detail, "Allow its user s3:PutObject and nothing else (docs/storage.md)")
    return Finding(name, "ok", "the second pair of credentials can't read, list or delete")


def anonymous(ex: Examination) -> Finding:
    """Does the bucket answer people who show no permission?"""
    base, private = ex.address.base_url(ex.client_endpoint), ex.expected.private_key
    private_is_open = private is not None and _answers(ex, base, private)
    pending_is_open = _answers(ex, base, ex.key("object"))
    if not private_is_open and not pending_is_open:
        return Finding("anonymous", "ok", "nothing can be read without a signature")
    if private_is_open or ex.expected.has_private_routes:
        return Finding(
            "anonymous",
            "failed",
            f"the bucket answers anonymous GETs, and there are private file routes: whoever knows a key can read {_VISIBLE}",
            "Take the public access off the bucket; public files don't need it, /f/ redirects to signed URLs",
        )
    return Finding(
        "anonymous",
        "warning",
        f"the bucket answers anonymous GETs; no file route is private yet. Whoever knows a key can read {_VISIBLE}",
        "Have only the CDN of storage.public_url read the bucket, and refuse pending/ there"
        if ex.expected.public_url
        else "Take the public access off the bucket: /f/ redirects to signed URLs and does not need it",
    )


def public_url(ex: Examination) -> Finding:
    """Does the CDN serve what it must not?"""
    base, private = ex.expected.public_url, ex.expected.private_key
    if base is None:
        return Finding("public-url", "skipped", "storage.public_url is not set")
    try:
        if _answers(ex, base, ex.key("object")):
            return Finding(
                "public-url",
                "failed",
                f"{base} serves pending/: bytes that nobody has verified, with any type that an uploader declared",
                "Have the CDN refuse every path that begins with /pending/",
            )
        if private is not None and _answers(ex, base, private):
            return Finding(
                "public-url",
                "failed",
                f"{base} serves the files of private file routes, too, to who knows their keys",
                "Have the CDN serve the keys of public file routes only (PROJECT/FILE-ROUTE/…), or leave storage.public_url empty",
            )
    except urllib3.exceptions.HTTPError as error:
        reason = "TLS certificate not trusted here" if tls_trouble(error) else type(error).__name__
        return Finding(
            "public-url", "warning", f"{base} can't be reached from here ({reason})", "Correct storage.public_url or what is there"
        )
    return Finding("public-url", "ok", f"{base} does not serve pending/")


def _answers(ex: Examination, base: str, key: str) -> bool:
    return ex.send("GET", object_url(base, key), headers={"Range": "bytes=0-0"}).is_success
