"""The checks of the bucket's own rules, CORS and lifecycle, which `--fix` sets, and of what browsers make of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from uploadkit.core.packaged_files import PROGRAM
from uploadkit.objectstore import bucket_rules
from uploadkit.objectstore.boto import AccessDenied, StorageRefused
from uploadkit.objectstore.doctor.examination import Answer, Examination, Finding

_MANUALLY = "or set the rule yourself: docs/storage.md shows it"
_PERMISSIONS = {
    "cors-rule": "s3:GetBucketCORS and s3:PutBucketCORS",
    "lifecycle": "s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration",
}
_FIX = f"Run '{PROGRAM} doctor --fix'"
_SETTLING_SECONDS = 30
_TRACED = "the headers that tracing (Sentry, OpenTelemetry, Datadog …) adds: pages that trace every request can't upload, nor fetch files"
_REDIRECTED = "null"  # what browsers call a page of another site that a redirect sent on


def cors_rule(ex: Examination) -> Finding:
    """Has the bucket a CORS rule? Some engines answer every web page without one; the next may not."""
    name, origins = "cors-rule", ex.expected.cors_origins
    try:
        rules = bucket_rules.read_cors(ex.store)
        denied, denies_tracing = bucket_rules.denied_to_browsers(rules, origins), bucket_rules.denies_tracing(rules, origins)
        if denied is None and not denies_tracing:
            return Finding(name, "ok", f"the bucket lets pages of {', '.join(origins)} upload, and all read")
        if ex.is_minio:
            return _cors_of_minio(name)
        if not ex.fix and denied is None:
            return Finding(name, "warning", f"the bucket's CORS rules refuse {_TRACED}", f"{_FIX}, {_MANUALLY}")
        if not ex.fix:
            detail = f"the bucket's CORS rules leave out something: {denied}" if rules else "the bucket has no CORS rule"
            return Finding(name, "failed", detail, _FIX)
        if not bucket_rules.set_cors(ex.store, origins, rules):
            return Finding(name, "skipped", "the store takes no CORS rules by S3; what it answers browsers, the next checks show")
    except AccessDenied as error:
        return _cors_of_minio(name) if ex.is_minio else _denied(ex, name, error)
    except StorageRefused as error:
        if error.store_code in bucket_rules.NOT_IMPLEMENTED:
            return Finding(name, "skipped", "the store does not show CORS rules by S3")
        raise
    ex.cors_was_set = True
    kept = f"; {len(rules)} other rule(s) were looked at and kept" if rules else ""
    return Finding(name, "ok", f"set, for pages of {', '.join(origins)}{kept}")


def _cors_of_minio(name: str) -> Finding:
    return Finding(name, "skipped", "MinIO has no CORS per bucket, only MINIO_API_CORS_ALLOW_ORIGIN for all; the next checks show it")


def _denied(ex: Examination, name: str, error: AccessDenied) -> Finding:
    """Not being allowed to look is no fault unless a fix was asked for."""
    return Finding(name, "failed" if ex.fix else "skipped", error.message, f"Give the credentials {_PERMISSIONS[name]}, {_MANUALLY}")


def cors_preflight(ex: Examination) -> Finding:
    """Does the store let a browser's PUT through, as it asks before, also with what tracing adds? And a GET, after a redirect?"""
    name, traced = "cors-preflight", True
    for origin, method in _preflights(ex):
        url = ex.signed_put(ex.key("object")) if method == "PUT" else ex.signed("GET", ex.key("object"))
        plain = ("content-type",) if method == "PUT" else ()
        for _ in _attempts(ex):
            with_tracing = _passes(ex, url, origin, method, (*plain, *bucket_rules.TRACING_HEADERS[:4]))
            # A GET with nothing added to it is not asked for.
            allowed = with_tracing or (_passes(ex, url, origin, method, plain) if plain else None)
            if with_tracing:
                break
        if allowed is False:
            return Finding(name, "failed", f"a page of {origin} may not {method} with a content type", f"{_FIX}, {_MANUALLY}")
        traced = traced and with_tracing
    if not traced:
        return Finding(name, "warning", f"the store refuses {_TRACED}", f"{_FIX}, {_MANUALLY}")
    return Finding(name, "ok", "browsers may PUT with a content type, and send what tracing adds")


def _preflights(ex: Examination) -> Iterator[tuple[str, str]]:
    for origin in _origins(ex):
        yield origin, "PUT"
    yield _REDIRECTED, "GET"


def _passes(ex: Examination, url: str, origin: str, method: str, headers: Sequence[str]) -> bool:
    asking = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(sorted(headers))}
    answer = ex.send("OPTIONS", url, headers=asking)
    if not answer.is_success or not _names_origin(answer, origin) or not _lists(answer, "Allow-Methods", method.lower()):
        return False
    return all(_lists(answer, "Allow-Headers", header) for header in headers)


def cors_answer(ex: Examination) -> Finding:
    """May a page read the answers, and the ETag of a part in them? May it read a file that a redirect has led it to?"""
    name = "cors-answer"
    for origin in _origins(ex):
        for _ in _attempts(ex):
            answer = ex.put(ex.fresh_key("of-a-page"), {"Origin": origin})
            if exposed := _names_origin(answer, origin) and _lists(answer, "Expose-Headers", "etag"):
                break
        if not exposed:
            return Finding(name, "failed", f"a page of {origin} can't read the ETag of what it stored", f"{_FIX}, {_MANUALLY}")
    for origin in (*_origins(ex), _REDIRECTED):
        if not _names_origin(ex.must("GET", ex.signed("GET", ex.key("object")), headers={"Origin": origin}), origin):
            whose = "that came by the redirect from /f/ (Origin: null)" if origin == _REDIRECTED else f"of {origin}"
            return Finding(name, "failed", f"a page {whose} can't read what it downloads", f"{_FIX}, {_MANUALLY}")
    plain = ex.must("GET", ex.signed("GET", ex.key("object")))
    open_to_all = plain.headers.get("Access-Control-Allow-Origin") == "*"
    if ex.expected.public_url and not open_to_all and not _varies_by_origin(plain):
        return Finding(
            name,
            "warning",
            "the store does not say Vary: Origin to who sends no Origin: what a page shows in <img> first, its scripts can't read",
            "Have what stands at storage.public_url add Vary: Origin to every answer; the appliance's own /f/ links need nothing",
        )
    return Finding(name, "ok", "browsers may read answers, and the ETag in them")


def _varies_by_origin(answer: Answer) -> bool:
    return bool({"origin", "*"} & {name.strip().lower() for name in answer.headers.get("Vary", "").split(",")})


def _origins(ex: Examination) -> Iterator[str]:
    """Web sites to speak for: any will do where all are allowed."""
    for origin in ex.expected.cors_origins:
        yield "https://doctor.example" if origin == "*" else origin.replace("*", "doctor")


def _attempts(ex: Examination) -> Iterator[None]:
    """Once; after a rule was set, for some seconds: providers take a while to follow."""
    until = time.monotonic() + (_SETTLING_SECONDS if ex.cors_was_set else 0)
    yield
    while time.monotonic() < until:
        time.sleep(1)
        yield


def _names_origin(answer: Answer, origin: str) -> bool:
    return answer.headers.get("Access-Control-Allow-Origin") in ("*", origin)


def _lists(answer: Answer, header: str, wanted: str) -> bool:
    names = {name.strip().lower() for name in answer.headers.get(f"Access-Control-{header}", "").split(",")}
    return bool({wanted, "*"} & names)


def lifecycle(ex: Examination) -> Finding:
    """Does the bucket clear away by itself what the appliance may have missed, and nothing that is needed?"""
    name, days = "lifecycle", ex.expected.days
    refused: Mapping[str, str] = {}
    try:
        rules = bucket_rules.read_lifecycle(ex.store)
        problem, missing = bucket_rules.too_early(rules, days), bucket_rules.missing_of_ours(rules, days)
        if "seaweedfs" in ex.server.lower() and not problem:
            # docs/decisions/0014-doctor.md
            return Finding(name, "skipped", "SeaweedFS is not given lifecycle rules; the appliance clears away by itself")
        if ex.fix and (problem or missing):
            refused = bucket_rules.set_lifecycle(ex.store, days, rules)
            rules = bucket_rules.read_lifecycle(ex.store)
            problem, missing = bucket_rules.too_early(rules, days), bucket_rules.missing_of_ours(rules, days)
    except AccessDenied as error:
        return _denied(ex, name, error)
    except StorageRefused as error:
        if error.store_code in bucket_rules.NOT_IMPLEMENTED:
            return Finding(name, "skipped", "the store has no lifecycle rules by S3; the appliance clears away by itself")
        raise
    if problem:
        return Finding(name, "failed", f"{problem}: files would vanish", "Change or remove that rule in the bucket")
    if missing and refused:
        named = ", ".join(f"{rule} ({code})" for rule, code in refused.items())
        detail = f"the store does not take the rule {named}; the appliance cleans that up by itself, and the other rules are set"
        # MinIO ends unfinished multipart uploads by itself after a day (MINIO_API_STALE_UPLOADS_EXPIRY).
        return Finding(name, "ok" if ex.is_minio else "warning", detail, "Nothing to do, or set that rule in the provider's own way")
    if missing and not (ex.is_minio and missing == [bucket_rules.MULTIPARTS]):
        detail = f"the bucket has no lifecycle rule {', '.join(missing)}: a second safeguard behind the appliance's own cleaning up"
        return Finding(name, "warning", detail, _FIX)
    ends = bucket_rules.multiparts_end(rules)
    multiparts = "as the store does by itself" if ends is None else f"after {ends[0]}"
    if ends and ends[0] < days.multiparts:  # R2 has such a rule from the start
        multiparts += f" (rule {ends[1]!r}: an upload that takes longer has to begin anew)"
    detail = f"the bucket clears away pending/ after {days.pending} days, test/ after {days.test}, multiparts {multiparts}"
    return Finding(name, "ok", detail)
