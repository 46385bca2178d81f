"""The doctor: proves a configuration against the real bucket, check by check, and leaves nothing behind.

It may run while the appliance serves: it touches no object but its own, and changes the bucket only when asked to (`fix`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import urllib3

from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.boto import AccessDenied, StorageRefused, tls_trouble
from uploadkit.objectstore.doctor import bucket_rules, objects, unsigned_headers, untrusted_clients
from uploadkit.objectstore.doctor.examination import Examination, Expectations, Finding, Refused, Unclear
from uploadkit.objectstore.store import ObjectStore

__all__ = ["UNSAFE", "Expectations", "Finding", "Refused", "Safety", "Unclear", "examine", "is_open_to_anybody", "safety"]

# The checks that a store must not fail before an upload URL is signed for it.
UNSAFE = ("forged", "copy-source", "bent-query")


@dataclass(frozen=True)
class _Check:
    """A check, the checks it can't do without, and the permission that it is about."""

    name: str
    run: Callable[[Examination], Finding]
    needs: tuple[str, ...] = ("put",)
    permission: str = ""


_CHECKS = (
    _Check("reach", objects.reach, ()),
    _Check("clock", objects.clock_skew, ("reach",)),
    _Check("bucket", objects.bucket, ("reach",)),
    _Check("public-endpoint", objects.public_endpoint, ("bucket",), "s3:PutObject"),
    _Check("object-lock", objects.object_lock, ("bucket",)),
    _Check("put", objects.put, ("bucket",), "s3:PutObject"),
    _Check("copy-source", unsigned_headers.copy_source, permission="s3:PutObject"),
    _Check("unsigned-headers", unsigned_headers.other_headers, ("copy-source",), "s3:PutObject"),
    _Check("upload-credentials", untrusted_clients.upload_credentials),
    _Check("get", objects.get, permission="s3:GetObject"),
    _Check("read", objects.read, permission="s3:GetObject"),
    _Check("copy", objects.copy, ("get",)),
    _Check("multipart", objects.multipart, permission="s3:PutObject"),
    _Check("list-parts", objects.list_parts, ("multipart",)),
    _Check("complete-multipart", objects.complete_multipart, ("multipart",)),
    _Check("abort-multipart", objects.abort_multipart, ("multipart",)),
    _Check("wrong-length", untrusted_clients.wrong_length),
    _Check("wrong-type", untrusted_clients.wrong_type),
    _Check("tampered-signature", untrusted_clients.tampered_signature),
    _Check("expired-url", untrusted_clients.expired_url),
    _Check("forged", untrusted_clients.forged, ("bucket",)),
    _Check("bent-query", untrusted_clients.bent_query),
    _Check("anonymous", untrusted_clients.anonymous),
    _Check("public-url", untrusted_clients.public_url),
    _Check("cors-rule", bucket_rules.cors_rule, ("bucket",)),
    _Check("cors-preflight", bucket_rules.cors_preflight),
    _Check("cors-answer", bucket_rules.cors_answer, permission="s3:PutObject"),
    _Check("lifecycle", bucket_rules.lifecycle, ("bucket",)),
    _Check("delete", objects.delete),
)
_TEMPORARY = (
    "{section}.access_key_id: temporary credentials, which need a session token and end within hours, are not supported; make a lasting key"
)
_SUGGESTIONS = {
    "NoSuchBucket": "{section}.bucket: make the bucket, correct its name, or set create_bucket = true and run doctor --fix",
    "InvalidAccessKeyId": "{section}.access_key_id: the store does not know it",
    "SignatureDoesNotMatch": "{section}.secret_access_key: it does not belong to that access key id, or a proxy changes Host or path",
    "Unauthorized": "{section}.access_key_id: the store does not know it",  # R2
    "XAdminUserNotFound": "{section}.access_key_id: the store does not know it",
    "AuthorizationHeaderMalformed": "{section}.region or {section}.access_key_id: one of them is not what the store expects",
    "AuthorizationQueryParametersError": "{section}.region or {section}.access_key_id: one of them is not what the store expects",
    "PermanentRedirect": "{section}.region: it is not the bucket's (or addressing_style does not suit this store)",
    "301": "{section}.region: it is not the bucket's (or addressing_style does not suit this store)",
    "RequestTimeTooSkewed": "Set this machine's clock (NTP)",
    # AWS, to a PUT without a checksum.
    "InvalidRequest": "If the bucket locks objects (Object Lock), take one that does not; else the provider's documentation explains this",
    "InvalidToken": _TEMPORARY,
    "InvalidTokenId": _TEMPORARY,
    "ExpiredToken": _TEMPORARY,
}
_UNKNOWN_CODE = "The provider's documentation explains this code"
# Until the bucket is known, the settings are the likeliest cause.
_UNKNOWN_CODE_AT_FIRST = f"Check region, access_key_id and secret_access_key in {{section}}. {_UNKNOWN_CODE}"


def examine(store: ObjectStore, expected: Expectations, *, fix: bool = False) -> Generator[Finding]:
    """Run every check, yielding each finding as it comes; with `fix`, set the bucket's CORS and lifecycle rules first where they are wrong.

    Whatever happens, also when the caller closes the iterator half-way, what was put into the bucket is deleted again.
    """
    examination = Examination(store, expected, fix=fix)
    works: set[str] = set()
    try:
        for check in _CHECKS:
            finding = _run(check, examination, works)
            if finding.outcome in ("ok", "warning"):
                works.add(check.name)
            yield finding
        yield _cleared(examination)
    finally:
        examination.close()


def is_open_to_anybody(store: ObjectStore, expected: Expectations) -> Finding:
    """Make only the check for anonymous readers. Raises StorageUnavailable, Refused, urllib3.exceptions.HTTPError."""
    examination = Examination(store, expected, fix=False)
    try:
        if expected.private_key is None:
            examination.put(examination.key("object"))
        return untrusted_clients.anonymous(examination)
    finally:
        examination.close()


@dataclass(frozen=True)
class Safety:
    """What `safety` found: only what is wrong, the headers that upload URLs have to bar, and what was not answered ("": all was).

    `has_answered` is False when the store did not take an honest upload, so that there was nothing to find out.
    """

    findings: Sequence[Finding]
    barred: Sequence[str]
    unanswered: str
    has_answered: bool


def safety(store: ObjectStore, expected: Expectations, *, seconds: float) -> Safety:
    """Make only the checks for what anybody can do with an upload URL, by the way that clients take. Raises nothing.

    Begins no request after `seconds`. What was put into the bucket is deleted again.
    """
    examination = Examination(store, expected, fix=False, seconds=seconds)
    findings: list[Finding] = []
    unanswered, has_answered = "", False

    def begin(examination: Examination) -> Finding | None:
        objects.public_endpoint(examination)
        examination.put(examination.key("object"))
        return None

    try:
        # Each by itself: what keeps one from its answer, perhaps on purpose, must not hide what the next would find.
        checks = (untrusted_clients.bent_query, unsigned_headers.copy_source, untrusted_clients.forged, unsigned_headers.other_headers)
        for check in (begin, *checks):
            try:
                finding = check(examination)
                has_answered = True
            except (StorageUnavailable, Refused) as error:
                unanswered = unanswered or str(error)
                has_answered = has_answered or isinstance(error, StorageRefused | Refused)
            except urllib3.exceptions.HTTPError as error:
                unanswered = unanswered or f"no answer ({type(error).__name__})"
            else:
                findings += [finding] if finding is not None and finding.outcome in ("failed", "warning") else []
            if not has_answered:
                break
    finally:
        examination.close()
    return Safety(findings, examination.barred, unanswered, has_answered)


def _run(check: _Check, examination: Examination, works: set[str]) -> Finding:
    missing = [name for name in check.needs if name not in works]
    if missing:
        return Finding(check.name, "skipped", f"needs {missing[0]}")
    section = examination.expected.section
    unknown = _UNKNOWN_CODE if "bucket" in works else _UNKNOWN_CODE_AT_FIRST
    try:
        return check.run(examination)
    except AccessDenied as error:
        return Finding(check.name, "failed", error.message, error.suggestion or "")
    except StorageRefused as error:
        suggestion = _SUGGESTIONS.get(error.store_code, unknown)
        return Finding(check.name, "failed", error.message, suggestion.format(section=section))
    except StorageUnavailable as error:
        own = error.suggestion if error.suggestion != error.default_suggestion else None
        return Finding(check.name, "failed", error.message, own or f"Check {section} and the network, then run doctor again")
    except Refused as error:
        suggestion = _SUGGESTIONS.get(error.answer.code, unknown)
        if error.answer.code == "AccessDenied" and check.permission:
            suggestion = f"Give the appliance's credentials {check.permission} on the bucket"
        if examination.address.upload_access_key_id and check.permission == "s3:PutObject":
            suggestion = suggestion.replace("access_key_id", "upload_access_key_id").replace(
                "secret_access_key", "upload_secret_access_key"
            )
            suggestion = suggestion.replace("the appliance's credentials", "the second pair of credentials")
        return Finding(check.name, "failed", f"a client's request was answered {error}", suggestion.format(section=section))
    except urllib3.exceptions.HTTPError as error:
        if (untrusted := tls_trouble(error)) is not None:
            return Finding(check.name, "failed", *untrusted)
        suggestion = f"Check {section}.endpoint, DNS, firewall and TLS, then run doctor again"
        return Finding(check.name, "failed", f"{examination.client_endpoint} does not answer ({type(error).__name__})", suggestion)


def _cleared(examination: Examination) -> Finding:
    left = examination.clear()
    if left:
        suggestion = "Give the appliance's credentials s3:DeleteObject and s3:AbortMultipartUpload, and delete these yourself"
        return Finding("clean-up", "failed", f"could not delete {', '.join(left)}", suggestion)
    return Finding("clean-up", "ok", "nothing was left in the bucket")
