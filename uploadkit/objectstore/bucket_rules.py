"""What a bucket is told once, not with every request: its CORS rule, and the lifecycle rule that clears away what nobody needs.

Rules of other people stay. Nothing is written over that could not be read before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from uploadkit.config import Config
from uploadkit.core.sizes import LARGEST_OBJECT_BYTES, LARGEST_PUT_BYTES, SLOWEST_BYTES_PER_SECOND
from uploadkit.objectstore.boto import AccessDenied, StorageRefused
from uploadkit.objectstore.store import ObjectStore

NOT_IMPLEMENTED = {"NotImplemented", "501", "MethodNotAllowed", "405", "XNotImplemented"}
# What instruments of tracing add to every request of a page (W3C Trace Context and Baggage, Sentry, Datadog, New Relic, B3, Elastic,
# Jaeger, AWS X-Ray, Google, Application Insights), and what older libraries do. By name, since R2 does not take "*" for headers everywhere.
TRACING_HEADERS = (
    "traceparent", "tracestate", "baggage", "sentry-trace",
    "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority", "x-datadog-tags",
    "newrelic", "x-newrelic-id", "x-newrelic-transaction",
    "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "elastic-apm-traceparent", "uber-trace-id", "x-amzn-trace-id", "x-cloud-trace-context",
    "request-id", "request-context", "x-request-id", "x-correlation-id", "x-requested-with",
)  # fmt: skip
_WRITING, _READING = ("PUT", "GET", "HEAD"), ("GET", "HEAD")
# More than "*" alone, so that the rule is known again, and holds where "*" is only a name.
_EVERY, _BY_NAME = ("*", "content-type"), ("content-type", *TRACING_HEADERS)
_MAX_AGE_SECONDS = 3600
_R2 = ".r2.cloudflarestorage.com"
_OLD_HEADERS = ("content-type",)  # of a version before
MULTIPARTS = "uploadkit-multiparts"
_NO_RULE = {"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"}
_DAY_SECONDS = 86400

Rule = Mapping[str, Any]


def cors_rules(origins: Sequence[str], *, by_name: bool = False) -> list[Rule]:
    """Return the CORS rules that browsers need: pages of `origins` may PUT, those of all may GET.

    Reading is for all, since a browser that came by a redirect from one site to another names no site: it says `Origin: null`. Each URL
    carries its own permission. `by_name` lists the request headers instead of "*", for R2.
    """
    headers = list(_BY_NAME if by_name else _EVERY)
    rule = {"AllowedHeaders": headers, "ExposeHeaders": ["ETag"], "MaxAgeSeconds": _MAX_AGE_SECONDS}
    writing = {"AllowedOrigins": list(origins), "AllowedMethods": list(_WRITING), **rule}
    reading = {"AllowedOrigins": ["*"], "AllowedMethods": list(_READING), **rule}
    return [writing] if "*" in origins else [writing, reading]


def read_cors(store: ObjectStore) -> list[Rule]:
    """Return the bucket's CORS rules, none where there are none. Raises StorageUnavailable, AccessDenied and StorageRefused."""
    return _read(store, "get_bucket_cors", "CORSRules")


def set_cors(store: ObjectStore, origins: Sequence[str], others: Sequence[Rule] = ()) -> bool:
    """Make ours the first of the bucket's CORS rules, before `others`; False where the store has no CORS per bucket (MinIO: global)."""
    ours = cors_rules(origins, by_name=(urlsplit(store.address.endpoint).hostname or "").endswith(_R2))
    rules = [*ours, *(rule for rule in others if not _is_our_cors(rule))]
    try:
        store.ask("put_bucket_cors", CORSConfiguration={"CORSRules": rules})
    except StorageRefused as error:
        if error.store_code in NOT_IMPLEMENTED:
            return False
        raise
    return True


def denied_to_browsers(rules: Sequence[Rule], origins: Sequence[str]) -> str | None:
    """Say what `rules` keep browsers from: pages of `origins` from uploading, or all from reading what a link led to; None: nothing."""
    for origin in origins:
        rule = _first(rules, origin, "PUT")
        if not (rule and _allows_headers(rule, "content-type") and "etag" in _small(rule.get("ExposeHeaders", ()))):
            return f"pages of {origin} can't PUT with a content type and read the ETag"
    for method in _READING:
        for origin in (*origins, "null"):
            if _first(rules, origin, method) is None:
                return f'pages of {origin} can\'t {method} ("null": after the redirect from /f/)'
    return None


def denies_tracing(rules: Sequence[Rule], origins: Sequence[str]) -> bool:
    """Say whether some of the headers that tracing adds are refused by the first of `rules` that is about a request."""
    asked = [(origin, "PUT") for origin in origins] + [("null", "GET")]
    return not all(_allows_headers(_first(rules, origin, method) or {}, *TRACING_HEADERS) for origin, method in asked)


def _first(rules: Sequence[Rule], origin: str, method: str) -> Rule | None:
    return next(
        (rule for rule in rules if {origin, "*"} & set(rule.get("AllowedOrigins", ())) and method in rule.get("AllowedMethods", ())), None
    )


def _allows_headers(rule: Rule, *headers: str) -> bool:
    allowed = _small(rule.get("AllowedHeaders", ()))
    return "*" in allowed or set(headers) <= allowed


def _small(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


def _is_our_cors(rule: Rule) -> bool:
    """Ours, perhaps of a time when other origins were configured. R2 keeps no ID, so a rule is known by what it says."""
    headers, exposed = _small(rule.get("AllowedHeaders", ())), _small(rule.get("ExposeHeaders", ()))
    methods = sorted(rule.get("AllowedMethods", ()))
    return (
        headers in (set(_OLD_HEADERS), set(_BY_NAME), set(_EVERY))
        and exposed == {"etag"}
        and methods in (sorted(_WRITING), sorted(_READING))
        and rule.get("MaxAgeSeconds", _MAX_AGE_SECONDS) == _MAX_AGE_SECONDS
    )


@dataclass(frozen=True)
class LifecycleDays:
    """After how many days the bucket itself may clear away: pending objects, test files, unfinished multipart uploads."""

    pending: int
    test: int
    multiparts: int

    @classmethod
    def needed(cls, config: Config) -> LifecycleDays:
        """Return the shortest times that take nothing from the appliance which it still needs, and a day more."""
        keeping = config.housekeeping
        longest_put = max(keeping.abandoned_upload_seconds, LARGEST_PUT_BYTES // SLOWEST_BYTES_PER_SECOND)
        largest = max(tier.max_file_size or LARGEST_OBJECT_BYTES for tier in config.tiers.values())
        longest_multipart = max(keeping.abandoned_upload_seconds, largest // SLOWEST_BYTES_PER_SECOND)
        expires = config.storage.presign_expires_seconds
        return cls(
            pending=_days(expires + longest_put), test=_days(keeping.test_file_ttl_seconds), multiparts=_days(expires + longest_multipart)
        )

    def rules(self) -> list[Rule]:
        """Return them as lifecycle rules."""
        return [
            {"ID": "uploadkit-pending", "Status": "Enabled", "Filter": {"Prefix": "pending/"}, "Expiration": {"Days": self.pending}},
            {"ID": "uploadkit-test", "Status": "Enabled", "Filter": {"Prefix": "test/"}, "Expiration": {"Days": self.test}},
            {
                "ID": MULTIPARTS,
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": self.multiparts},
            },
        ]


def _days(seconds: int) -> int:
    return -(-seconds // _DAY_SECONDS) + 1


def read_lifecycle(store: ObjectStore) -> list[Rule]:
    """Return the bucket's lifecycle rules, none where there are none. Raises StorageUnavailable, AccessDenied and StorageRefused."""
    return _read(store, "get_bucket_lifecycle_configuration", "Rules")


def set_lifecycle(store: ObjectStore, days: LifecycleDays, others: Sequence[Rule]) -> Mapping[str, str]:
    """Write our lifecycle rules beside `others`, in the place of earlier ones of ours; where the store refuses them together, one by one.

    Returns the names of those that it does not take (MinIO: for multipart uploads), with its word for why. Raises as `read_lifecycle` does,
    also when it takes none of them.
    """
    ours = days.rules()
    names = {rule["ID"] for rule in ours}
    taken = [rule for rule in others if rule.get("ID") not in names]
    try:
        _write_lifecycle(store, [*taken, *ours])
        return {}
    except AccessDenied:
        raise
    except StorageRefused as error:
        if error.store_code in NOT_IMPLEMENTED:
            raise
    refused: dict[str, StorageRefused] = {}
    for rule in ours:
        try:
            _write_lifecycle(store, [*taken, rule])
            taken.append(rule)
        except StorageRefused as error:
            refused[rule["ID"]] = error
    if len(refused) == len(ours):
        raise next(iter(refused.values()))
    return {name: error.store_code for name, error in refused.items()}


def _write_lifecycle(store: ObjectStore, rules: Sequence[Rule]) -> None:
    store.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": list(rules)})


def too_early(rules: Sequence[Rule], days: LifecycleDays) -> str | None:
    """Name a rule that takes away what the appliance still needs: one for all objects, or with too few days; None when there is none."""
    for rule in rules:
        if rule.get("Status") != "Enabled":
            continue
        prefix = _prefix_of(rule)
        narrowed = set(rule.get("Filter", {})) - {"Prefix"}
        name = f"rule {rule.get('ID', '')!r} for {prefix + '*' if prefix else 'all objects'}"
        expires = rule.get("Expiration", {}).get("Days")
        if expires is not None and not narrowed:
            least = {"pending/": days.pending, "test/": days.test}.get(prefix)
            if not prefix or (least is not None and expires < least):
                return f"{name} deletes after {expires} day(s)" + (f", {least} are needed" if least else "")
        aborts = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        if rule.get("ID") == MULTIPARTS and aborts is not None and aborts < days.multiparts:
            return f"{name} ends multipart uploads after {aborts} day(s), {days.multiparts} are needed"
    return None


def missing_of_ours(rules: Sequence[Rule], days: LifecycleDays) -> list[str]:
    """Return the names of our lifecycle rules that are not among `rules`, whatever their days."""
    present = {rule.get("ID") for rule in rules if rule.get("Status") == "Enabled"}
    return [rule["ID"] for rule in days.rules() if rule["ID"] not in present]


def multiparts_end(rules: Sequence[Rule]) -> tuple[int, str] | None:
    """Return after how many days the bucket ends unfinished multipart uploads, and by which of `rules`; None when none is for all."""
    for_all = [rule for rule in rules if rule.get("Status") == "Enabled" and not _prefix_of(rule)]
    found = [(rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"), str(rule.get("ID", ""))) for rule in for_all]
    ends = [(days, name) for days, name in found if days is not None]
    return min(ends, default=None)


def _prefix_of(rule: Rule) -> str:
    return str(rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")))


def _read(store: ObjectStore, operation: str, name: str) -> list[Rule]:
    try:
        return list(store.ask(operation)[name])
    except StorageRefused as error:
        if error.store_code in _NO_RULE:
            return []
        raise


def close_to_untrusted_clients(store: ObjectStore, days: LifecycleDays) -> list[str]:
    """Take from the bucket a policy, an access list and lifecycle rules of somebody else's; return what there was.

    For the bundled store, which needs none of them; `days` says how early our own lifecycle rules may delete.
    Raises StorageUnavailable, AccessDenied and StorageRefused.
    """
    found = []
    if _has_policy(store):
        store.ask("delete_bucket_policy")
        found.append("a bucket policy")
    grants = store.ask("get_bucket_acl").get("Grants", [])
    if any(grant.get("Grantee", {}).get("Type") != "CanonicalUser" for grant in grants):
        store.ask("put_bucket_acl", ACL="private")
        found.append("an access list that names groups")
    rules = read_lifecycle(store)
    if too_early(rules, days) or not all(_is_our_lifecycle(rule, days) for rule in rules):
        store.ask("delete_bucket_lifecycle")
        found.append("lifecycle rules, by which files may have been deleted,")
    return found


def _is_our_lifecycle(rule: Rule, days: LifecycleDays) -> bool:
    return any(
        (rule.get("ID"), rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))) == (ours["ID"], ours["Filter"]["Prefix"])
        for ours in days.rules()
    )


def _has_policy(store: ObjectStore) -> bool:
    try:
        return bool(store.ask("get_bucket_policy").get("Policy"))
    except StorageRefused as error:
        if error.store_code != "NoSuchBucketPolicy":
            raise
        return False
