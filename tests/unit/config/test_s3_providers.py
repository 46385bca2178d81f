"""Six providers by configuration alone: each block of docs/storage.md is loaded as it stands, and what it signs is held against what the
provider wants. Offline. The names in the environment are the providers' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.appliance import ROOT
from uploadkit import config
from uploadkit.core.errors import ConfigError
from uploadkit.objectstore.address import byos_address
from uploadkit.objectstore.store import ObjectStore

ENVIRONMENT = {
    "R2_ACCOUNT_ID": "0123456789abcdef0123456789abcdef",
    "R2_ACCESS_KEY_ID": "r2-key-id",
    "R2_SECRET_ACCESS_KEY": "hush",
    "R2_BUCKET_NAME": "your-bucket-name",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hush",
    "AWS_S3_BUCKET": "my-upload-bucket",
    "MINIO_ENDPOINT": "http://localhost:9000",
    "MINIO_ACCESS_KEY": "minioadmin",
    "MINIO_SECRET_KEY": "hush",
    "MINIO_BUCKET": "uploads",
    "SPACES_ACCESS_KEY_ID": "DO00",
    "SPACES_SECRET_ACCESS_KEY": "hush",
    "WASABI_ACCESS_KEY_ID": "WASABI",
    "WASABI_SECRET_ACCESS_KEY": "hush",
    "B2_KEY_ID": "004b2",
    "B2_APPLICATION_KEY": "hush",
}
# Per heading in docs/storage.md: what stands before the key in a URL, the region in the credential scope, and whose key id it is.
WANTED = {
    "Cloudflare R2": ("https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/your-bucket-name", "auto", "r2-key-id"),
    "AWS S3": ("https://my-upload-bucket.s3.eu-central-1.amazonaws.com", "eu-central-1", "AKIAIOSFODNN7EXAMPLE"),
    "DigitalOcean Spaces": ("https://nyc3.digitaloceanspaces.com/my-upload-bucket", "nyc3", "DO00"),
    "MinIO": ("http://localhost:9000/uploads", "us-east-1", "minioadmin"),
    "Wasabi": ("https://s3.wasabisys.com/my-upload-bucket", "us-east-1", "WASABI"),
    "Backblaze B2": ("https://s3.us-west-004.backblazeb2.com/my-upload-bucket", "us-west-004", "004b2"),
}
AT_MS = 1_775_649_600_000  # 2026-04-08T12:00:00Z


def blocks() -> Iterator[tuple[str, str]]:
    """Every provider's heading and configuration."""
    text = (ROOT / "docs" / "storage.md").read_text()
    yield from re.findall(r"^### ([^\n]+)\n\n```toml\n(\[storage\]\nmode = \"byos\".*?)```", text, re.DOTALL | re.MULTILINE)


def store_of(tmp_path: Path, toml: str, **environment: str) -> ObjectStore:
    path = tmp_path / "config.toml"
    path.write_text(toml)
    return ObjectStore(byos_address(config.load(path, ENVIRONMENT | environment).storage.byos))


def test_all_six_are_documented() -> None:
    assert [provider for provider, _ in blocks()] == list(WANTED)


@pytest.mark.parametrize(("provider", "toml"), list(blocks()))
def test_what_is_signed_is_what_the_provider_wants(tmp_path: Path, provider: str, toml: str) -> None:
    store = store_of(tmp_path, toml)
    base, region, key_id = WANTED[provider]
    put = store.presign_put("pending/Ä b", "image/png; a=b", 5, AT_MS, 3600)
    part = store.presign_part("p/r/f/x", "upload/id+=", 7, 5 * 1024**2, AT_MS, 3600)
    read = store.presign_read("GET", "p/r/f/x.png", "image/png", "inline", 600)
    assert put.startswith(f"{base}/pending/%C3%84%20b?")
    for url, signed_headers, expires in (
        (put, "content-length;content-type;host", "3600"),
        (part, "content-length;host", "3600"),
        (read, "host", "600"),
    ):
        assert url.startswith(f"{base}/")
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
        assert re.fullmatch(rf"{key_id}/\d{{8}}/{region}/s3/aws4_request", query["X-Amz-Credential"])
        assert query["X-Amz-SignedHeaders"] == signed_headers
        assert query["X-Amz-Expires"] == expires
        assert len(query["X-Amz-Signature"]) == 64
        assert "hush" not in unquote(url)
    assert parse_qs(urlsplit(put).query)["X-Amz-Date"] == ["20260408T120000Z"]
    assert parse_qs(urlsplit(part).query)["uploadId"] == ["upload/id+="]
    assert parse_qs(urlsplit(part).query)["partNumber"] == ["7"]


@pytest.mark.parametrize(("provider", "toml"), list(blocks()))
def test_what_boto3_asks_goes_to_the_same_place(tmp_path: Path, provider: str, toml: str) -> None:
    """Our signer signs URLs only. The requests of boto3 must name the same host, bucket and region, whatever the environment says."""
    surroundings = {"AWS_ENDPOINT_URL": "http://elsewhere.example", "AWS_PROFILE": "not-there", "AWS_USE_FIPS_ENDPOINT": "true"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in surroundings.items():
            patched.setenv(name, value)
        store = store_of(tmp_path, toml)
        seen: list[tuple[str, str]] = []

        def stop(request: object, **_: object) -> None:
            seen.append((request.url, request.headers["Authorization"].decode()))  # type: ignore[attr-defined]
            raise InterruptedError

        store._quick_client.meta.events.register("before-send.s3", stop)
        with pytest.raises(InterruptedError):
            store._quick_client.head_object(Bucket=store.address.bucket, Key="p/r/f/x")
    base, region, key_id = WANTED[provider]
    ((url, authorization),) = seen
    assert url == f"{base}/p/r/f/x"
    assert re.search(rf"Credential={key_id}/\d{{8}}/{region}/s3/aws4_request", authorization)


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENT) - {"R2_ACCOUNT_ID"}))
def test_a_name_that_is_not_set_or_empty_stops_the_start_with_the_key(tmp_path: Path, name: str) -> None:
    (toml,) = [toml for _, toml in blocks() if f"${{{name}}}" in toml]
    (key,) = re.findall(rf'(\w+) = "\$\{{{name}\}}"', toml)
    path = tmp_path / "config.toml"
    path.write_text(toml)
    without = {other: value for other, value in ENVIRONMENT.items() if other != name}
    with pytest.raises(ConfigError, match=rf"^storage\.byos\.{key}: .*{name}") as caught:
        config.load(path, without)
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match=rf"^storage\.byos\.{key}: .*{name} is empty"):
        config.load(path, without | {name: ""})


def test_virtual_hosts_and_a_public_endpoint(tmp_path: Path) -> None:
    toml = dict(blocks())["DigitalOcean Spaces"] + 'addressing_style = "virtual"\npublic_endpoint = "https://files.example.com"\n'
    store = store_of(tmp_path, toml)
    assert store.presign_put("k", "a/b", 1, AT_MS, 60).startswith("https://my-upload-bucket.files.example.com/k?")
    dotted = store_of(tmp_path, dict(blocks())["AWS S3"], AWS_S3_BUCKET="my.dotted.bucket")
    assert dotted.presign_put("k", "a/b", 1, AT_MS, 60).startswith("https://s3.eu-central-1.amazonaws.com/my.dotted.bucket/k?")
