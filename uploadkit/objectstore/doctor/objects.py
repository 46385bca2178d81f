"""The checks of what uploads and downloads need: reaching the store, objects, multipart uploads.

Each check returns a Finding, or raises the store's error, which `examine` puts into words.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from email.utils import parsedate_to_datetime

import urllib3

from uploadkit.core import clock
from uploadkit.core.etags import plain_etag
from uploadkit.objectstore.address import object_url
from uploadkit.objectstore.boto import AccessDenied, StorageRefused, tls_trouble
from uploadkit.objectstore.doctor.examination import BODY, DISPOSITION, TYPE, Examination, Finding, Refused
from uploadkit.objectstore.store import CopyRefused

_NO_S3 = "Ask the provider: this is not how S3 works"
_MOST_SKEW_SECONDS = 60


def reach(ex: Examination) -> Finding:
    """Does anybody answer at the endpoint?"""
    before = clock.now_ms()
    url = object_url(ex.address.base_url(ex.address.endpoint), ex.unused_key())
    answer = ex.send("GET", url)
    ex.server = answer.headers.get("Server", "")
    # A proxy in front has a name of its own, and lets this header through, which only an answer to HEAD has.
    ex.is_minio = ex.server.lower() in ("minio", "silo") or "X-Minio-Error-Code" in ex.send("HEAD", url).headers
    with contextlib.suppress(TypeError, ValueError):
        # The header has whole seconds, cut off.
        store_ms = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() * 1000 + 500
        ex.skew_seconds = ((before + clock.now_ms()) / 2 - store_ms) / 1000
    return Finding("reach", "ok", f"{ex.address.endpoint} answers" + (f" ({ex.server})" if ex.server else ""))


def clock_skew(ex: Examination) -> Finding:
    """Do this machine and the store agree on the time?"""
    skew = abs(ex.skew_seconds)
    if skew <= _MOST_SKEW_SECONDS:
        return Finding("clock", "ok", f"within {max(skew, 1):.0f} s of the store's")
    return Finding(
        "clock",
        "failed",
        f"this machine's clock is {skew:.0f} s {'ahead of' if ex.skew_seconds > 0 else 'behind'} the store's",
        "Set the clock (NTP): URLs become valid too late or expire too early, and from 15 minutes on stores refuse every signature",
    )


def bucket(ex: Examination) -> Finding:
    """Does the store know credentials, region and bucket? A missing bucket is made by `--fix` if the configuration says so."""
    if ex.fix:
        ex.store.probe()
    try:
        ex.store.head(ex.unused_key())
    except AccessDenied:
        # AWS says so of an object that is not there, too, without s3:ListBucket; what may really be done, the next checks find out.
        return Finding("bucket", "ok", f"{ex.address.bucket} answers, with 403 for what is not there")
    return Finding("bucket", "ok", f"{ex.address.bucket} answers")


def public_endpoint(ex: Examination) -> Finding:
    """Does a client's PUT work by the address that clients are given, if that is another one?"""
    public, direct, setting = ex.address.public_endpoint, ex.address.endpoint, f"{ex.expected.section}.public_endpoint"
    if public == direct:
        return Finding("public-endpoint", "ok", "clients use the same address")
    try:
        ex.put(ex.fresh_key("by-public-endpoint"))
    except Refused as error:
        reason, problem = str(error), error.answer.code
    except urllib3.exceptions.HTTPError as error:
        reason, problem = ("untrusted certificate", "untrusted") if tls_trouble(error) else (type(error).__name__, "unreachable")
    else:
        return Finding("public-endpoint", "ok", f"a presigned PUT to {public} is taken")
    ex.client_endpoint = direct
    ex.put(ex.fresh_key("by-endpoint"))
    suggestion = {
        "unreachable": f"Correct {setting}, or start the proxy there; if clients reach it and only this machine does not, all is well",
        "untrusted": f"Renew the certificate there, or have {setting} name the host that it is for; where clients know its authority and "
        "only this machine does not, all is well",
        "SignatureDoesNotMatch": "The proxy there changes the Host header or the path, which the signature covers: have it pass on "
        "both as they came (nginx: proxy_set_header Host $http_host; see docs/deploy.md)",
    }.get(problem, f"Look at the proxy there, or correct {setting}")
    return Finding(
        "public-endpoint", "failed", f"{public}, which clients are given, fails ({reason}); {direct} takes the same PUT", suggestion
    )


def object_lock(ex: Examination) -> Finding:
    """Does the bucket lock what is stored in it?"""
    name = "object-lock"
    try:
        settings = ex.store.ask("get_object_lock_configuration").get("ObjectLockConfiguration", {})
    except AccessDenied:
        detail = "whether the bucket locks objects can't be seen without s3:GetBucketObjectLockConfiguration"
        return Finding(name, "skipped", detail)
    except StorageRefused:  # there is none, or the store knows no locks
        return Finding(name, "ok", "the bucket locks nothing")
    if retention := settings.get("Rule", {}).get("DefaultRetention"):
        period = ", ".join(f"{value} {unit.lower()}" for unit, value in retention.items() if unit != "Mode")
        return Finding(
            name,
            "failed",
            f"the bucket locks each object for {period} (Object Lock): a presigned PUT may be refused for want of a checksum, what is "
            "deleted stays, and so does every upload that nobody completed",
            "Take a bucket without Object Lock, or remove its default retention",
        )
    if settings.get("ObjectLockEnabled") == "Enabled":
        detail = "the bucket can lock objects (Object Lock), though none by default; it keeps versions, too"
        return Finding(name, "warning", detail, "Take a bucket without Object Lock, or add a rule that expires noncurrent versions")
    return Finding(name, "ok", "the bucket locks nothing")


def put(ex: Examination) -> Finding:
    """Is a client's PUT taken?"""
    answer = ex.put(ex.key("object"))
    ex.keeps_versions = answer.headers.get("x-amz-version-id", "null") != "null"
    return Finding("put", "ok", "a presigned PUT is taken")


def get(ex: Examination) -> Finding:
    """Does the appliance see what was stored, by a ranged GET?"""
    stored = ex.store.head(ex.key("object"), first_bytes=6)
    if stored is None:
        return Finding("get", "failed", "the store does not find an object that it has just taken", _NO_S3)
    seen = (stored.size_bytes, stored.content_type, stored.first_bytes)
    if seen != (len(BODY), TYPE, BODY[:6]):
        return Finding("get", "failed", f"a ranged GET shows {seen} of what was stored as {(len(BODY), TYPE, BODY[:6])}", _NO_S3)
    return Finding("get", "ok", "a ranged GET shows size, type and first bytes")


def read(ex: Examination) -> Finding:
    """Do presigned GET and HEAD work for a client, with the type and disposition that the URL says?"""
    query = {"response-content-type": "text/plain", "response-content-disposition": "inline"}
    served = {}
    for method in ("GET", "HEAD"):
        answer = ex.must(method, ex.signed(method, ex.key("object"), query=query))
        served[method] = (answer.headers.get("Content-Type"), answer.headers.get("Content-Disposition"))
    wanted = ("text/plain", "inline")
    if served["GET"] != wanted:
        return Finding(
            "read",
            "failed",
            f"the store answers GET with type and disposition {served['GET']}, not with those in the URL",
            "Take another store: from this one, browsers might run what somebody uploaded",
        )
    if served["HEAD"] != wanted:
        return Finding(
            "read",
            "warning",
            f"the store answers HEAD with {served['HEAD']}, not with what the URL says",
            "Nothing to do: GET is answered as it should be",
        )
    return Finding("read", "ok", "presigned GET and HEAD answer with the type and disposition of the URL")


def copy(ex: Examination) -> Finding:
    """Does the store copy exactly the object that was looked at, with our own type and disposition?"""
    source, target = ex.key("object"), ex.key("copy")
    stored = ex.store.head(source)
    assert stored is not None
    try:
        etag = ex.store.copy(source, stored, target, TYPE, DISPOSITION)
    except CopyRefused:
        return Finding(
            "copy",
            "failed",
            "a copy has another ETag than its source, and the store does not say that it encrypts with a KMS key: every upload "
            "would be refused, since nothing else shows that the copy is what was verified",
            "Turn off what changes ETags: encryption with keys of the customer, a gateway that compresses or re-encrypts",
        )
    try:
        ex.store.copy(source, replace(stored, etag="0" * 32), ex.fresh_key("copy"), TYPE, DISPOSITION)
        return Finding("copy", "failed", "an object is copied that is not the one asked for", _NO_S3)
    except CopyRefused:
        pass
    answer = ex.must("GET", ex.signed("GET", target))
    served = (answer.body, answer.headers.get("Content-Type"), answer.headers.get("Content-Disposition"))
    if served != (BODY, TYPE, DISPOSITION):
        return Finding("copy", "failed", f"the copy reads as {served}, not as {(BODY, TYPE, DISPOSITION)}", _NO_S3)
    kind = "the same ETag" if etag == stored.etag else "an ETag of its own, as KMS encryption has it"
    return Finding("copy", "ok", f"a copy is made of exactly the object that was looked at; it has {kind}")


def multipart(ex: Examination) -> Finding:
    """Does a multipart upload take a part, of exactly its signed length?"""
    key = ex.key("multipart")
    upload_id = ex.begin_multipart(key)
    url = ex.signed_part(key, upload_id)
    if (longer := ex.send("PUT", url, BODY + b"!")).is_success:
        return Finding(
            "multipart", "failed", f"a part longer than signed is taken ({longer})", "Take another store, or a newer build of this"
        )
    etag = plain_etag(ex.must("PUT", url, BODY).headers.get("ETag", ""))
    ex.multipart = (upload_id, etag)
    return Finding("multipart", "ok", "a multipart upload begins, and takes a part of exactly the signed length")


def list_parts(ex: Examination) -> Finding:
    """May the appliance see which parts have arrived?"""
    upload_id, etag = ex.multipart
    try:
        parts = ex.store.list_parts(ex.key("multipart"), upload_id)
    except AccessDenied as error:
        return Finding(
            "list-parts",
            "warning",
            "without this permission interrupted uploads can't be resumed, and complete needs the parts from the client",
            error.suggestion or "",
        )
    if [(part.number, part.size_bytes, part.etag) for part in parts or ()] != [(1, len(BODY), etag)]:
        return Finding("list-parts", "failed", f"the store lists {parts} for one part of {len(BODY)} bytes", _NO_S3)
    return Finding("list-parts", "ok", "parts that have arrived are listed")


def complete_multipart(ex: Examination) -> Finding:
    """Does the store put the parts together?"""
    key, (upload_id, etag) = ex.key("multipart"), ex.multipart
    joined = ex.store.complete_multipart(key, upload_id, len(BODY), [(1, etag)])
    stored = ex.store.head(key) if joined else None
    if stored is None or (stored.size_bytes, stored.content_type) != (len(BODY), TYPE):
        return Finding("complete-multipart", "failed", f"after complete the store has {stored}", _NO_S3)
    return Finding("complete-multipart", "ok", "the parts become an object with the type of the upload")


def abort_multipart(ex: Examination) -> Finding:
    """Is an aborted multipart upload gone?"""
    key = ex.key("aborted")
    upload_id = ex.begin_multipart(key)
    url = ex.signed_part(key, upload_id)
    ex.must("PUT", url, BODY)
    ex.store.abort_multipart(key, upload_id)
    if (late := ex.send("PUT", url, BODY)).is_success:
        return Finding("abort-multipart", "failed", f"an aborted upload still takes parts ({late})", _NO_S3)
    return Finding("abort-multipart", "ok", "an aborted upload takes no more parts")


def delete(ex: Examination) -> Finding:
    """Is what is deleted gone?"""
    key = ex.key("object")
    ex.store.delete(key)
    with contextlib.suppress(AccessDenied):  # see `bucket`
        if ex.store.head(key) is not None:
            return Finding("delete", "failed", "a deleted object is still there", "Look whether the bucket locks objects (Object Lock)")
    if ex.keeps_versions:
        return Finding(
            "delete",
            "warning",
            "the bucket keeps versions: what is deleted stays, and costs, as an old version",
            "Suspend versioning, or add a lifecycle rule that expires noncurrent versions",
        )
    return Finding("delete", "ok", "what is deleted is gone")
