"""The signer equals botocore, byte for byte, over hostile input."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import botocore.auth
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.utils import percent_encode, percent_encode_sequence
from hypothesis import given
from hypothesis import strategies as st

from uploadkit.objectstore.sigv4 import Signer

ENDPOINTS = [
    ("https://0123456789abcdef.r2.cloudflarestorage.com/uploads", "auto"),
    ("https://uploads.s3.eu-central-1.amazonaws.com", "eu-central-1"),
    ("https://s3.eu-central-1.amazonaws.com/my.dotted.bucket", "eu-central-1"),
    ("https://nyc3.digitaloceanspaces.com/uploads", "nyc3"),
    ("https://uploads.nyc3.digitaloceanspaces.com", "nyc3"),
    ("http://127.0.0.1:9000/uploads", "us-east-1"),
    ("http://minio.example.com:80/uploads", "us-east-1"),
    ("https://minio.example.com:443/uploads", "us-east-1"),
    ("https://s3.wasabisys.com/uploads", "us-east-1"),
    ("https://s3.us-west-004.backblazeb2.com/uploads", "us-west-004"),
]
COPY_HEADERS = ["Content-Type", "Content-Disposition", "x-amz-copy-source", "x-amz-copy-source-if-match", "Range"]
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
# Header values can't hold control characters or non-ASCII text.
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
instants_ms = st.integers(0, 4102444800_000)


def by_botocore(base: str, region: str, method: str, key: str, at_ms: int, expires: int, query: dict, headers: dict) -> str:
    url = f"{base}/{percent_encode(key, safe='/~')}"
    if query:
        url += "?" + percent_encode_sequence(query)
    request = AWSRequest(method=method, url=url, headers=headers)
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    with patch.object(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=None)):
        S3SigV4QueryAuth(Credentials("AKIDEXAMPLE", "secret/+="), "s3", region, expires=expires).add_auth(request)
    return request.url


@given(st.sampled_from(ENDPOINTS), texts, header_values, st.integers(1, 5 * 2**30), instants_ms, st.integers(1, 604800))
def test_put(endpoint: tuple[str, str], key: str, content_type: str, size: int, at_ms: int, expires: int) -> None:
    base, region = endpoint
    headers = {"content-length": str(size), "content-type": content_type}
    ours = Signer(base, region, "AKIDEXAMPLE", "secret/+=").presign("PUT", key, at_ms=at_ms, expires_seconds=expires, headers=headers)
    assert ours == by_botocore(base, region, "PUT", key, at_ms, expires, {}, headers)


@given(st.sampled_from(ENDPOINTS), texts, st.integers(1, 5 * 2**30), instants_ms)
def test_put_of_an_unknown_type(endpoint: tuple[str, str], key: str, size: int, at_ms: int) -> None:
    base, region = endpoint
    headers = {"content-length": str(size)}
    ours = Signer(base, region, "AKIDEXAMPLE", "secret/+=").presign("PUT", key, at_ms=at_ms, expires_seconds=60, headers=headers)
    assert ours == by_botocore(base, region, "PUT", key, at_ms, 60, {}, headers)


@given(st.sampled_from(ENDPOINTS), texts, texts, st.integers(1, 10_000), st.integers(1, 5 * 2**30), instants_ms)
def test_part(endpoint: tuple[str, str], key: str, upload_id: str, number: int, size: int, at_ms: int) -> None:
    base, region = endpoint
    query, headers = {"uploadId": upload_id, "partNumber": str(number)}, {"content-length": str(size)}
    signer = Signer(base, region, "AKIDEXAMPLE", "secret/+=")
    ours = signer.presign("PUT", key, at_ms=at_ms, expires_seconds=3600, query=query, headers=headers)
    assert ours == by_botocore(base, region, "PUT", key, at_ms, 3600, query, headers)


@given(
    st.sampled_from(ENDPOINTS),
    texts,
    st.lists(st.sampled_from(["x-amz-copy-source", "x-amz-tagging", "x-amz-acl"]), max_size=3, unique=True),
    st.sampled_from([{}, {"uploadId": "a/b+c=", "partNumber": "7"}]),
    instants_ms,
)
def test_barred_headers(endpoint: tuple[str, str], key: str, barred: list[str], query: dict, at_ms: int) -> None:
    base, region = endpoint
    headers = {"content-length": "5", "content-type": "text/plain"}
    signer = Signer(base, region, "AKIDEXAMPLE", "secret/+=")
    ours = signer.presign("PUT", key, at_ms=at_ms, expires_seconds=60, query=query, headers=headers, barred=barred)
    empty = dict.fromkeys(barred, "")
    assert ours == by_botocore(base, region, "PUT", key, at_ms, 60, query | empty, headers | empty)


@given(st.sampled_from(ENDPOINTS), texts, texts, texts, instants_ms)
def test_get(endpoint: tuple[str, str], key: str, content_type: str, disposition: str, at_ms: int) -> None:
    base, region = endpoint
    query = {"response-content-type": content_type, "response-content-disposition": disposition}
    ours = Signer(base, region, "AKIDEXAMPLE", "secret/+=").presign("GET", key, at_ms=at_ms, expires_seconds=60, query=query)
    assert ours == by_botocore(base, region, "GET", key, at_ms, 60, query, {})


@given(st.sampled_from(ENDPOINTS), texts, st.dictionaries(st.sampled_from(COPY_HEADERS), header_values), instants_ms)
def test_a_request_by_its_headers(endpoint: tuple[str, str], key: str, headers: dict, at_ms: int) -> None:
    base, region = endpoint
    url, ours = Signer(base, region, "AKIDEXAMPLE", "secret/+=").sign("PUT", key, headers, at_ms=at_ms)
    assert url == f"{base}/{percent_encode(key, safe='/~')}"
    request = AWSRequest(method="PUT", url=url, headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": True})
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    with patch.object(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=None)):
        S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret/+="), "s3", region).add_auth(request)
    assert ours == dict(request.headers.items())


def test_the_secret_is_not_in_the_repr() -> None:
    assert "hush" not in repr(Signer("http://localhost/b", "r", "AKID", "hush"))
