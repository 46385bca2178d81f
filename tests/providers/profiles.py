"""Six providers: what each does otherwise than AWS's pages say, as far as its own pages or its users' issues say so.

docs/providers.md has the source of each line. What no source tells is answered as AWS does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.providers.cors import EVERYBODY, CorsRule
from tests.providers.signatures import Wrong

Answer = tuple[int, str]

NOT_IMPLEMENTED = (501, "NotImplemented")
_LIKE_AWS: dict[Wrong, Answer] = {
    "unsigned": (403, "AccessDenied"),
    "malformed": (400, "AuthorizationQueryParametersError"),
    "region": (400, "AuthorizationHeaderMalformed"),
    "unknown-key": (403, "InvalidAccessKeyId"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "expired": (403, "AccessDenied"),
    "headers-not-signed": (403, "AccessDenied"),
    "signature": (403, "SignatureDoesNotMatch"),
    "body": (400, "XAmzContentSHA256Mismatch"),
}
_R2_DEFAULT_RULE = (
    b"<Rule><ID>Default Multipart Abort Rule</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>"
    b"<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
)


@dataclass(frozen=True)
class Profile:
    """One provider. `heading` is its own in docs/storage.md; `host` the one that its endpoint there names, without the bucket."""

    name: str
    heading: str
    host: str
    region: str
    regions: frozenset[str] = frozenset()  # none: any
    server: str = ""
    refusals: Mapping[Wrong, Answer] = field(default_factory=dict)
    # Headers of a request that writes, by how their names begin.
    refused_headers: Mapping[str, Answer] = field(default_factory=dict)
    # What can't be asked of a bucket or an object, by the name in the query.
    missing: Mapping[str, Answer] = field(default_factory=dict)
    has_bucket_cors: bool = True
    cors_without_rules: tuple[CorsRule, ...] = ()
    star_is_a_name: bool = False
    cors_on_errors: bool = True
    cors_settles_seconds: float = 0
    first_lifecycle: bytes = b""
    refused_lifecycle: Mapping[bytes, Answer] = field(default_factory=dict)
    rules_need_md5: bool = True
    equal_parts: bool = False
    random_etags_of_parts: bool = False
    seconds_between_writes: float = 0  # to one key
    keeps_versions: bool = False
    vhosts: bool = True
    bodyless_error_header: str = ""
    query_stands_in: bool = False  # for a signed header that is not sent

    def refusal(self, wrong: Wrong) -> Answer:
        return self.refusals.get(wrong, _LIKE_AWS[wrong])


R2 = Profile(
    name="r2",
    heading="Cloudflare R2",
    host="0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com",
    region="auto",
    regions=frozenset({"auto", "us-east-1", ""}),
    server="cloudflare",
    refusals={"unsigned": (401, "Unauthorized"), "unknown-key": (401, "Unauthorized"), "expired": (403, "ExpiredRequest")},
    refused_headers=dict.fromkeys((
        "x-amz-tagging", "x-amz-acl", "x-amz-grant-", "x-amz-website-redirect-location", "x-amz-object-lock-", "x-amz-request-payer",
        "x-amz-expected-bucket-owner", "x-amz-server-side-encryption-aws-kms", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
    ), NOT_IMPLEMENTED),
    missing=dict.fromkeys(("tagging", "acl", "object-lock", "policy", "versioning", "versions", "retention"), NOT_IMPLEMENTED),
    star_is_a_name=True,
    cors_on_errors=False,
    cors_settles_seconds=1.5,
    first_lifecycle=_R2_DEFAULT_RULE,
    rules_need_md5=False,
    equal_parts=True,
    random_etags_of_parts=True,
    seconds_between_writes=1,
)  # fmt: skip
AWS = Profile(
    name="aws",
    heading="AWS S3",
    host="s3.eu-central-1.amazonaws.com",
    region="eu-central-1",
    regions=frozenset({"eu-central-1"}),
    server="AmazonS3",
    missing={"object-lock": (404, "ObjectLockConfigurationNotFoundError")},
)
SPACES = Profile(
    name="spaces",
    heading="DigitalOcean Spaces",
    host="nyc3.digitaloceanspaces.com",
    region="nyc3",
    refused_headers={"x-amz-checksum-": NOT_IMPLEMENTED, "x-amz-sdk-checksum-algorithm": NOT_IMPLEMENTED, "x-amz-trailer": NOT_IMPLEMENTED},
    missing={"object-lock": NOT_IMPLEMENTED},
)
WASABI = Profile(
    name="wasabi",
    heading="Wasabi",
    host="s3.wasabisys.com",
    region="us-east-1",
    regions=frozenset({"us-east-1"}),
    server="WasabiS3",
    refused_headers={"x-amz-checksum-": (400, "InvalidRequest"), "x-amz-sdk-checksum-algorithm": (400, "InvalidRequest")},
    missing={"object-lock": (404, "ObjectLockConfigurationNotFoundError")},
    cors_without_rules=(EVERYBODY,),
)
B2 = Profile(
    name="b2",
    heading="Backblaze B2",
    host="s3.us-west-004.backblazeb2.com",
    region="us-west-004",
    regions=frozenset({"us-west-004"}),
    server="nginx",
    refused_headers={
        "x-amz-tagging": (400, "InvalidArgument"),
        "x-amz-acl": (400, "InvalidArgument"),
        "x-amz-checksum-": (400, "InvalidArgument"),
        "x-amz-sdk-checksum-algorithm": (400, "InvalidArgument"),
        "x-amz-trailer": (400, "InvalidArgument"),
        "if-none-match": NOT_IMPLEMENTED,
        "if-match": NOT_IMPLEMENTED,
    },
    missing={"tagging": NOT_IMPLEMENTED, "object-lock": (404, "ObjectLockConfigurationNotFoundError")},
    keeps_versions=True,
)
MINIO = Profile(
    name="minio",
    heading="MinIO",
    host="minio.example:9000",
    region="us-east-1",
    server="MinIO",
    missing={"object-lock": (404, "ObjectLockConfigurationNotFoundError")},
    has_bucket_cors=False,
    cors_without_rules=(EVERYBODY,),
    refused_lifecycle={b"AbortIncompleteMultipartUpload": (400, "InvalidArgument")},
    vhosts=False,
    bodyless_error_header="X-Minio-Error-Code",
    query_stands_in=True,
)
ALL = {profile.name: profile for profile in (R2, AWS, SPACES, WASABI, B2, MINIO)}
