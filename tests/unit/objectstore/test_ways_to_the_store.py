"""Stores behind a proxy that this machine has to use, and with a certificate of an authority of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support.appliance import running
from tests.support.certificates import make_certificate
from tests.support.forward_proxy import forwarding
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.config import Config
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore import doctor
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bucket_rules import set_cors
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.plain_http import proxies_of
from uploadkit.objectstore.store import ObjectStore

EXPECTED = replace(Expectations.of(Config()), section="storage.byos")


@pytest.fixture
def bucket(other_store: OtherStore) -> Iterator[ObjectStore]:
    """A new bucket with a CORS rule, empty at the end."""
    store = other_store.bucket(f"ways-{uuid4().hex}")
    set_cors(store, ["*"])
    yield store
    store.ask("delete_bucket")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has that these tests run on."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def as_it_is(asked: Asked, pass_on: PassOn) -> Answered:
    return pass_on(asked)


def faults(address: StoreAddress, expected: Expectations = EXPECTED) -> list[Finding]:
    return [found for found in doctor.examine(ObjectStore(address), expected) if found.outcome not in ("ok", "skipped")]


def at(address: StoreAddress, endpoint: str) -> StoreAddress:
    return replace(address, endpoint=endpoint, public_endpoint=endpoint)


def proxied_as(address: StoreAddress, name: str) -> StoreAddress:
    return at(address, address.endpoint.replace("127.0.0.1", name))


def test_through_a_proxy(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with forwarding(urlsplit(bucket.address.endpoint).netloc) as proxy:
        monkeypatch.setenv("http_proxy", f"http://anna:p%40ss@127.0.0.1:{proxy.port}")
        assert faults(at(bucket.address, "http://store.example:8080")) == []
        assert proxy.asked_for == {"http://store.example:8080"}
        assert faults(bucket.address) == [], "nobody asks a proxy for what is on this very machine"
        assert proxy.asked_for == {"http://store.example:8080"}
        monkeypatch.setenv("no_proxy", ".example")
        assert proxies_of("http://store.example:8080") == {}
        monkeypatch.delenv("no_proxy")
        assert faults(bucket.address, replace(EXPECTED, public_url="http://cdn.example")) == []
        assert "http://cdn.example" in proxy.asked_for, "this machine may be the store's and not the CDN's"
        monkeypatch.setenv("http_proxy", f"http://anna:pä@127.0.0.1:{proxy.port}")
        assert [found.name for found in faults(at(bucket.address, "http://other.test:8080"))] == ["reach"], (
            "nobody could say so in a header"
        )


def test_through_a_proxy_to_a_certificate_of_ones_own_authority(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "store.pem", "store.example")
    with proxied(bucket.address, as_it_is, certificate) as local, forwarding(urlsplit(local.endpoint).netloc) as proxy:
        monkeypatch.setenv("https_proxy", f"http://anna:p%40ss@127.0.0.1:{proxy.port}")
        address = replace(at(bucket.address, "https://store.example:8443"), ca_bundle=certificate)
        assert faults(address) == []
        assert proxy.asked_for == {"CONNECT store.example:8443"}


def test_a_certificate_that_is_not_trusted_is_told_with_the_mend(bucket: ObjectStore, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "store.pem", "store.example", "127.0.0.1")
    other = make_certificate(tmp_path / "other.pem", "store.example", "127.0.0.1")
    with proxied(bucket.address, as_it_is, certificate) as address:
        assert faults(replace(address, ca_bundle=certificate)) == []
        mistaken = proxied_as(address, "localhost")  # which the certificate is not for
        for outsider in (address, replace(address, ca_bundle=other), replace(mistaken, ca_bundle=certificate)):
            found = faults(outsider)
            assert [finding.name for finding in found] == ["reach"]
            assert "certificate" in found[0].detail
            assert "storage.byos.ca_bundle" in found[0].suggestion
            with pytest.raises(StorageUnavailable, match="certificate is not trusted") as caught:
                ObjectStore(outsider).head("a")
            assert "storage.byos.ca_bundle" in str(caught.value.suggestion)
            with pytest.raises(StorageUnavailable, match="certificate is not trusted"):
                ObjectStore(outsider).list_parts("a", "none")


def test_a_file_of_authorities_that_vanishes_is_told(bucket: ObjectStore, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "store.pem", "store.example", "127.0.0.1")
    with proxied(bucket.address, as_it_is, certificate) as address:
        bundle = tmp_path / "bundle.pem"
        for content in (None, b"", certificate.read_bytes()[-100:]):  # gone, or in the midst of being written
            if content is not None:
                bundle.write_bytes(content)
            blind = replace(address, ca_bundle=bundle)
            with pytest.raises(StorageUnavailable, match=r"storage.byos.ca_bundle\) can't be read"):
                ObjectStore(blind).head("a")
            found = faults(blind)
            assert [finding.name for finding in found] == ["reach"]
            assert "(storage.byos.ca_bundle) can't be read" in found[0].detail


def test_what_only_the_system_trusts_is_for_clients_and_not_for_the_appliance(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "store.pem", "store.example", "127.0.0.1")
    with proxied(bucket.address, as_it_is, certificate) as address:
        clients = replace(bucket.address, public_endpoint=address.endpoint)
        assert [(found.name, "Renew" in found.suggestion) for found in faults(clients)] == [("public-endpoint", True)]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert faults(clients) == []
        assert "storage.byos.ca_bundle" in faults(address)[0].suggestion


def test_an_appliance_with_a_certificate_of_ones_own_authority(bucket: ObjectStore, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "store.pem", "store.example", "127.0.0.1")
    with proxied(bucket.address, as_it_is, certificate) as address:
        settings = byos_settings(address, STORAGE__BYOS__CA_BUNDLE=str(certificate))
        with running(tmp_path / "appliance", **settings) as appliance:
            appliance.http.connection_pool_kw["ca_certs"] = str(certificate)
            appliance.http.clear()
            kept = appliance.upload(b"bytes", "a.txt", "text/plain")
            assert appliance.read(kept["url"]).body == b"bytes"
            assert appliance.run("doctor").returncode == 0
            assert appliance.call("DELETE", f"/files/{kept['key']}").status == 200
            assert appliance.run("reconcile", "--fix").returncode == 0
    assert not bucket.ask("list_objects_v2").get("Contents")
