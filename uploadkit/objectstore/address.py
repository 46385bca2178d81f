"""Where a bucket is: endpoints, region, addressing style, and the credentials for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from uploadkit.config import ByosConfig
from uploadkit.objectstore.sigv4 import Signer


@dataclass(frozen=True)
class StoreAddress:
    """Where a bucket is and who may use it. `endpoint` is the appliance's way there, `public_endpoint` the clients'.

    `ca_bundle` is the file of the authorities that vouch for the endpoint's certificate, None for the public ones.
    `upload_access_key_id` and its secret are a second pair, which signs uploads and parts only; None where the first one does that, too.
    `socket` is a Unix socket that the appliance uses in place of a connection to `endpoint`: nobody else can stand in for it.
    """

    endpoint: str
    public_endpoint: str
    region: str
    bucket: str
    addressing_style: Literal["path", "virtual"]
    access_key_id: str
    secret_access_key: str
    ca_bundle: Path | None = None
    upload_access_key_id: str | None = None
    upload_secret_access_key: str | None = None
    socket: Path | None = None

    def __repr__(self) -> str:
        return f"StoreAddress({self.bucket!r} at {self.endpoint})"

    def base_url(self, endpoint: str) -> str:
        """Return what stands before an object's key in a URL on `endpoint`."""
        if self.addressing_style == "path":
            return f"{endpoint}/{self.bucket}"
        parts = urlsplit(endpoint)
        return f"{parts.scheme}://{self.bucket}.{parts.netloc}{parts.path}"

    def signer(self, endpoint: str) -> Signer:
        """Return what signs reads, and the appliance's own requests, at `endpoint`."""
        return Signer(self.base_url(endpoint), self.region, self.access_key_id, self.secret_access_key)

    def upload_signer(self, endpoint: str) -> Signer:
        """Return what signs the uploads and parts of clients at `endpoint`."""
        if self.upload_access_key_id is None or self.upload_secret_access_key is None:
            return self.signer(endpoint)
        return Signer(self.base_url(endpoint), self.region, self.upload_access_key_id, self.upload_secret_access_key)


def byos_address(byos: ByosConfig) -> StoreAddress:
    """Return the address that a checked BYOS configuration describes.

    Without an endpoint it is AWS: virtual-host style on the regional host, but for bucket names with dots, which no TLS certificate covers.
    """
    # config.load has checked that these are there.
    assert byos.bucket
    assert byos.region
    assert byos.access_key_id
    assert byos.secret_access_key
    on_aws = byos.endpoint is None
    endpoint = byos.endpoint or f"https://s3.{byos.region}.amazonaws.com"
    style = byos.addressing_style
    if style == "auto":
        style = "virtual" if on_aws and "." not in byos.bucket else "path"
    return StoreAddress(
        endpoint=endpoint,
        public_endpoint=byos.public_endpoint or endpoint,
        region=byos.region,
        bucket=byos.bucket,
        addressing_style=style,
        access_key_id=byos.access_key_id,
        secret_access_key=byos.secret_access_key.get_secret_value(),
        ca_bundle=byos.ca_bundle,
        upload_access_key_id=byos.upload_access_key_id,
        upload_secret_access_key=byos.upload_secret_access_key.get_secret_value() if byos.upload_secret_access_key else None,
    )


def object_url(base: str, key: str) -> str:
    """Return `base` + `/` + `key`, percent-encoded."""
    return f"{base}/{quote(key, safe='/-_.~')}"
