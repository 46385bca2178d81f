"""A bundled store's bucket that somebody has opened to the world, perhaps before its internal ports asked for a certificate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import urllib3

from uploadkit import config
from uploadkit.objectstore import bucket_rules
from uploadkit.objectstore.factory import serving_store
from uploadkit.objectstore.store import ObjectStore

KEY = "private/a"
DAYS = bucket_rules.LifecycleDays(2, 3, 4)


def opened(store: ObjectStore) -> list[str]:
    """Open the bucket in each way that works; return the ways."""
    every = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{store.address.bucket}/*"]}
    store.ask("put_object", Key=KEY, Body=b"secret")
    store.ask("put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": [every]}))
    store.ask("put_bucket_acl", ACL="public-read-write")
    assert status(store) == 200
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    store.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]})
    return ["a bucket policy", "an access list that names groups", "lifecycle rules"]


def status(store: ObjectStore) -> int:
    return urllib3.request("GET", f"{store.address.endpoint}/{store.address.bucket}/{KEY}", retries=False).status


def test_it_is_closed_and_told_at_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = {
        "UPLOADKIT_DATA__DIR": str(tmp_path / "data"),
        "UPLOADKIT_STORAGE__BUNDLED__PORT": "0",
        "UPLOADKIT_STORAGE__BUNDLED__ENGINE": "seaweedfs",
    }
    settings = config.load(None, environment)
    with serving_store(settings) as store:
        assert "SECURITY" not in caplog.text, "a new store has nothing of others"
        assert bucket_rules.close_to_untrusted_clients(store, DAYS) == []
        ways = opened(store)
    with serving_store(settings) as store:
        assert status(store) == 403
        assert all(way in caplog.text for way in ways)
        assert caplog.text.count("SECURITY") == 1
        assert bucket_rules.close_to_untrusted_clients(store, DAYS) == []
