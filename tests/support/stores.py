"""S3 stores that tests start themselves, for appliances that bring their own storage (BYOS)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uploadkit.config import BundledConfig
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bucket_rules import set_cors
from uploadkit.objectstore.bundled.supervisor import BundledStore
from uploadkit.objectstore.store import ObjectStore


@dataclass(frozen=True)
class OtherStore:
    """A separately started store: its address as its owner knows it, with a bucket, a region and credentials of its own."""

    address: StoreAddress

    def bucket(self, name: str) -> ObjectStore:
        """Another bucket at the same store, made if it is missing, as its owner sees it."""
        address = StoreAddress(**(vars(self.address) | {"bucket": name}))
        store = ObjectStore(address)
        store.create_bucket()
        return store


def byos_settings(address: StoreAddress, **more: str) -> dict[str, str]:
    """What `running(home, **settings)` needs so that the appliance uses the bucket at `address`; `more` are further settings."""
    return {
        "STORAGE__MODE": "byos",
        "STORAGE__BYOS__ENDPOINT": address.endpoint,
        "STORAGE__BYOS__REGION": address.region,
        "STORAGE__BYOS__BUCKET": address.bucket,
        "STORAGE__BYOS__ACCESS_KEY_ID": address.access_key_id,
        "STORAGE__BYOS__SECRET_ACCESS_KEY": address.secret_access_key,
        **more,
    }


@contextlib.contextmanager
def started_store(home: Path, *, region: str = "eu-central-1", bucket: str = "someone-elses") -> Iterator[OtherStore]:
    """Start a SeaweedFS that has nothing to do with the appliance under test, with a bucket and its CORS rule; stop it at the end."""
    engine = BundledStore(
        BundledConfig(engine="seaweedfs", port=0, max_disk_bytes=4 * 1024**3), home, listen_host="127.0.0.1", public_host="127.0.0.1"
    )
    engine.start()
    try:
        address = StoreAddress(
            engine.endpoint, engine.public_endpoint, region, bucket, "path", engine.access_key_id, engine.secret_access_key
        )
        other = OtherStore(address)
        set_cors(other.bucket(bucket), ["*"])
        yield other
    finally:
        engine.stop()
