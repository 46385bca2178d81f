"""The checks of the bucket's own rules, CORS and lifecycle, which `--fix` sets, and of what browsers make of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from uploadkit.storage import bucket_rules
from uploadkit.storage.doctor.examination import Answer, Examination, Finding
from uploadkit.storage.s3_client import AccessDenied, StorageRefused

_BY_HAND = "or set the rule yourself: docs/storage.md shows it"
_PERMISSIONS = {
    "cors-rule": "s3:GetBucketCORS and s3:PutBucketCORS",
    "lifecycle": "s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration",
}
_FIX = "Run 'python app.py doctor --fix'"
_SETTLING_SECONDS = 30


def cors_rule(ex: Examination) -> Finding:
    """Has the bucket a CORS rule? Some engines answer every web page without one; the next may not."""
    name, origins = "cors-rule", ex.expected.cors_origins
    try:
        rules = bucket_rules.read_cors(ex.store)
        if bucket_rules.allows_browsers(rules, origins):
            return Finding(name, "ok", f"the bucket lets pages of {', '.join(origins)} upload")
        if ex.is_minio:
            return _cors_of_minio(name)
        if not ex.fix:
            detail = f"the bucket's CORS rules leave out something for {', '.join(origins)}" if rules else "the bucket has no CORS rule"
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
    """Not being allowed to look is no fault as long as nobody asks for a mend."""
    return Finding(name, "failed" if ex.fix else "skipped", error.message, f"Give the credentials {_PERMISSIONS[name]}, {_BY_HAND}")


def cors_preflight(ex: Examination) -> Finding:
    """Does the store let a browser's PUT through, as it asks before?"""
    for origin in _origins(ex):
        asking = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        for _ in _attempts(ex):
            answer = ex.send("OPTIONS", ex.signed_put(ex.key("object")), headers=asking)
            allowed = answer.is_success and _names_origin(answer, origin) and _lists(answer, "Allow-Methods", "put")
            if allowed and _lists(answer, "Allow-Headers", "content-type"):
                break
        else:
            return Finding("cors-preflight", "failed", f"a page of {origin} may not PUT ({answer})", f"{_FIX}, {_BY_HAND}")
    return Finding("cors-preflight", "ok", "browsers may PUT with a content type")


def cors_answer(ex: Examination) -> Finding:
    """May a page read the answers, and the ETag of a part in them?"""
    for origin in _origins(ex):
        for _ in _attempts(ex):
            answer = ex.put(ex.key("object"), {"Origin": origin})
            if exposed := _names_origin(answer, origin) and _lists(answer, "Expose-Headers", "etag"):
                break
        if not exposed:
            return Finding("cors-answer", "failed", f"a page of {origin} can't read the ETag of what it stored", f"{_FIX}, {_BY_HAND}")
        if not _names_origin(ex.must("GET", ex.signed("GET", ex.key("object")), headers={"Origin": origin}), origin):
            return Finding("cors-answer", "failed", f"a page of {origin} can't read what it downloads", f"{_FIX}, {_BY_HAND}")
    return Finding("cors-answer", "ok", "browsers may read answers, and the ETag in them")


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
        said = ", ".join(f"{rule} ({code})" for rule, code in refused.items())
        told = f"the store does not take the rule {said}; the appliance clears that away by itself, and the other rules are set"
        # MinIO ends unfinished multipart uploads by itself after a day (MINIO_API_STALE_UPLOADS_EXPIRY).
        return Finding(name, "ok" if ex.is_minio else "warning", told, "Nothing to do, or set that rule in the provider's own way")
    if missing and not (ex.is_minio and missing == [bucket_rules.MULTIPARTS]):
        told = f"the bucket has no lifecycle rule {', '.join(missing)}: a second line behind the appliance's own clearing"
        return Finding(name, "warning", told, _FIX)
    multiparts = "as the store does by itself" if missing else f"after {days.multiparts}"
    told = f"the bucket clears away pending/ after {days.pending} days, test/ after {days.test}, multiparts {multiparts}"
    return Finding(name, "ok", told)
