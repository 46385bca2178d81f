"""Proxies that change ETags: a real nginx with gzip between clients and store, and one that makes all weak between appliance and store."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.appliance import JPEG, running
from tests.support.nginx_uploads import in_parts, upload_through_nginx
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.bucket_rules import set_cors
from uploadkit.objectstore.store import ObjectStore


@pytest.fixture
def bucket(other_store: OtherStore) -> ObjectStore:
    store = other_store.bucket(f"weak-{uuid4().hex}")
    set_cors(store, ["*"])
    return store


def test_a_real_nginx_with_gzip_between_clients_and_store(bucket: ObjectStore, tmp_path: Path) -> None:
    upload_through_nginx(bucket.address, tmp_path)


@pytest.mark.parametrize("change", ["W/{}", "{}-gzip"])
def test_a_proxy_that_changes_all_etags_between_appliance_and_store(bucket: ObjectStore, tmp_path: Path, change: str) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        answered.headers = {name: change.format(value) if name.lower() == "etag" else value for name, value in answered.headers.items()}
        return answered

    content = os.urandom(11 * MIB)
    with proxied(bucket.address, rule) as changed:
        settings = byos_settings(replace(changed, public_endpoint=bucket.address.endpoint))
        with running(tmp_path / "appliance", **settings) as appliance:
            small = appliance.upload(JPEG, "a.jpg", "image/jpeg")
            assert small["etag"].isalnum()
            _, done = in_parts(appliance, content)
            assert done.status == 200, done.body
            assert appliance.read(done.json["url"]).body == content
            assert appliance.run("doctor").returncode == 0
            assert appliance.run("reconcile").returncode == 0
