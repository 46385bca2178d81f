"""The Python client by the proxy that the environment names: API and store alike, and what of it is never shown."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, Appliance, free_port_of_a_store, running
from tests.support.certificates import make_certificate
from tests.support.forward_proxy import forwarding
from uploadkit.client import Client, UploadKitConnectionError
from uploadkit.client.proxies import printable_proxy, proxy_for

API, STORE = "uploads.example.test", "store.example.test:9000"


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has that these tests run on."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance and a store that clients know by names that only the proxy knows."""
    port = free_port_of_a_store()
    settings = {"STORAGE__BUNDLED__PORT": str(port), "STORAGE__BUNDLED__PUBLIC_ENDPOINT": f"http://{STORE}"}
    with running(tmp_path_factory.mktemp("elsewhere"), **settings) as appliance:
        appliance.store_port = port  # type: ignore[attr-defined]
        yield appliance


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_api_and_store_by_the_proxy(elsewhere: Appliance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    path = tmp_path / "film.bin"
    path.write_bytes(JPEG + bytes(11 * 1024**2 if variable == "HTTP_PROXY" else 100))
    with forwarding(f"127.0.0.1:{elsewhere.port}", {STORE: f"127.0.0.1:{elsewhere.store_port}"}) as proxy:  # type: ignore[attr-defined]
        monkeypatch.setenv(variable, f"http://anna:p%40ss@127.0.0.1:{proxy.port}")
        with Client(f"http://{API}", elsewhere.key) as client:
            assert client.upload(path).size_bytes == path.stat().st_size
        assert proxy.asked_for == {f"http://{API}", f"http://{STORE}"}
        proxy.asked_for.clear()
        with Client(elsewhere.base, elsewhere.key) as client:
            client.list()
        assert proxy.asked_for == set(), "nobody asks a proxy for what is on this very machine"


@contextmanager
def answering_by_tls(certificate: Path) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"items": [], "nextCursor": None}).encode())

        def log_message(self, *_: object) -> None:
            pass

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "all_proxy"])
def test_https_by_connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    certificate = make_certificate(tmp_path / "api.pem", API)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering_by_tls(certificate) as port, forwarding(f"127.0.0.1:{port}") as proxy:
        monkeypatch.setenv(variable, f"http://anna:p%40ss@127.0.0.1:{proxy.port}")
        with Client(f"https://{API}", "uk_live_x") as client:
            assert client.list().items == ()
        assert proxy.asked_for == {f"CONNECT {API}:443"}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("password", ["s3cret-wrong", "s3cret%20wrong"])
def test_a_password_that_the_proxy_does_not_take_is_told_and_not_shown(monkeypatch: pytest.MonkeyPatch, scheme: str, password: str) -> None:
    with forwarding("127.0.0.1:1") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://anna:{password}@127.0.0.1:{proxy.port}")
        client = Client(f"{scheme}://{API}", "uk_live_x")
        with pytest.raises(UploadKitConnectionError) as caught:
            client.list()
        assert f"by the proxy 127.0.0.1:{proxy.port}: it wants a name and password" in str(caught.value)
        assert not caught.value.transient
        rendered = f"{caught.value!r} {caught.value.__cause__!r} {client!r} {client._wire!r}"
        assert "s3cret" not in rendered


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://anna:s3cret@127.0.0.1:1", "by the proxy 127.0.0.1:1: it can't be reached, connection refused"),
        ("127.0.0.1:1", "by the proxy 127.0.0.1:1: it can't be reached, connection refused"),
        ("http://anna:s3cret@127.0.0.1:port", "the address of the proxy in the environment can't be one"),
        ("gopher://anna:s3cret@127.0.0.1:1", "the address of the proxy in the environment can't be one"),
        ("http://anna:s3cret\u4f60@127.0.0.1:1", "by the proxy 127.0.0.1:1: it can't be reached, connection refused"),
        ("http://anna:s3cret@[127.0.0.1:1", "the address of the proxy in the environment can't be one"),
        ("socks5h://anna:s3cret@127.0.0.1:1", "SOCKS needs the package PySocks"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_none_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, scheme: str, address: str, shown: str) -> None:
    if address.startswith("socks") and find_spec("socks") is not None:
        pytest.skip("PySocks is there")
    monkeypatch.setenv("ALL_PROXY", address)
    with pytest.raises(UploadKitConnectionError) as caught:
        Client(f"{scheme}://{API}", "uk_live_x", retry_seconds=0).list()
    assert shown in str(caught.value)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_for_whom_there_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://anna:p%40ss@proxy.test:3128")
    monkeypatch.setenv("no_proxy", ".internal.test, *.star.test,exact.test,port.test:8443,10.0.0.0/8,fd00::/8,192.0.2.7")
    assert proxy_for("https://a.test/x") == "http://anna:p%40ss@proxy.test:3128"
    assert printable_proxy("https://a.test/x") == "proxy.test:3128"
    assert proxy_for("http://a.test/") is None, "that is HTTP_PROXY's"
    through = ("https://port.test", "https://notexact.test", "https://11.0.0.1", "https://192.0.2.70", "https://[2001:db8::1]")
    straight = (
        *("https://localhost", "https://a.localhost:9000", "https://127.0.0.1", "https://127.1.2.3:9000", "https://[::1]:9000"),
        *("https://a.internal.test", "https://a.b.star.test", "https://exact.test", "https://EXACT.test:9000", "https://port.test:8443"),
        *("https://10.1.2.3", "https://[fd00::1]:9000", "https://192.0.2.7:9000"),
    )
    assert [url for url in through if proxy_for(url) is None] == []
    assert [url for url in straight if proxy_for(url) is not None] == []
    monkeypatch.setenv("no_proxy", "*")
    assert proxy_for("https://a.test/x") is None
