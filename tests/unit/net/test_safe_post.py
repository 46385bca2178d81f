"""Calls to addresses that users name: hostile ones are refused, and nothing that answers can lead them elsewhere or hold them up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.receivers import Handler, Received, Receiver, answering, receiving
from uploadkit.net import safe_post, url_policy
from uploadkit.net.safe_post import Outcome
from uploadkit.net.url_policy import Refused

LOOPBACK = ("127.0.0.0/8", "::1/128")

# Refused as soon as they are written down.
HOSTILE = [
    "",
    "example.com",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "javascript:alert(1)",
    "http://",
    "http:///path",
    "https:example.com",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com#@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
    "http://example.com/a b",
    "http://exa\tmple.com/",
    "http://example.com/\r\nHost: localhost",
    "http://exämple.com/",
    "http://①②⑦.⓪.⓪.①/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999/",
    "http://example.com:/",
    "http://example.com:80:80/",
    "http://example.com:+80/",
    "http://example.com./",
    "http://localhost./",
    "http://127.0.0.1./",
    "http://.example.com/",
    "http://a..b/",
    "http://%31%32%37.0.0.1/",
    "http://example.com/" + "a" * 2000,
    "http://" + "a" * 64 + ".com/",
    # Loopback in every notation.
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://foo.localhost/",
    "http://127.0.0.1/",
    "http://127.255.255.254/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.01/",
    "http://127.0.0.1.0x/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]:9000/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[::1%25lo]/",
    "http://[::1/",
    "http://::1/",
    "http://[::::]/",
    "http://[v1.x]/",
    # Private, link-local, shared, multicast, reserved, metadata.
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
]
HARMLESS = [
    "https://example.com",
    "HTTPS://Example.COM/Hook?a=b",
    "http://example.com:8080/x",
    "https://8.8.8.8/hook",
    "https://[2606:4700:4700::1111]:8443/hook",
    "https://a_b.example.com/",
    "https://xn--exmple-cua.com/",
    "https://3com.com/",
    "https://1.example/",
]


def check(url: str, *allowed: str) -> url_policy.Target:
    target = url_policy.parse(url)
    url_policy.require_allowed(target, allowed)
    return target


def test_the_table_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 40


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check(url)
    outcome = safe_post.post(url, b"", {}, timeout_seconds=1, allowed_private_cidrs=())
    assert (outcome.status_code, outcome.excerpt) == (None, None)
    assert outcome.error is not None
    assert outcome.error.startswith("Refused: ")


@pytest.mark.parametrize("port", [22, 25, 53, 110, 143, 445, 465, 587, 993, 995, 3306, 5432, 6000, 6379, 6667, 11211, 27017])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    """A POST is lines of text, and some programs take each line for a command."""
    for url in (f"http://example.com:{port}/", f"https://example.com:{port}/", f"http://[2001:db8::1]:{port}/"):
        with pytest.raises(Refused, match=f"{port} belongs to another protocol"):
            url_policy.parse(url)


@pytest.mark.parametrize("url", HARMLESS)
def test_harmless_urls_are_not(url: str) -> None:
    check(url)


def test_a_refused_private_address_says_which_line_to_add() -> None:
    with pytest.raises(Refused, match="not a public address") as refused:
        check("http://192.168.1.20:9000/hook")
    assert 'allowed_private_cidrs = ["192.168.1.20/32"]' in (refused.value.suggestion or "")
    check("http://192.168.1.20:9000/hook", "192.168.1.20/32")
    with pytest.raises(Refused) as mapped:
        check("http://[::ffff:10.0.0.1]/")
    assert '"10.0.0.1/32"' in (mapped.value.suggestion or "")
    check("http://[::ffff:10.0.0.1]/", "10.0.0.0/8")
    check("http://[fd00::5]/", "fd00::/8")
    check("http://localhost:3000/", "127.0.0.0/8")
    check("http://localhost:3000/", "::1/128")


def test_the_line_to_add_holds_those_that_are_there() -> None:
    with pytest.raises(Refused) as refused:
        check("http://192.168.1.20/", "10.0.0.0/8", "fd00::/8")
    assert 'allowed_private_cidrs = ["10.0.0.0/8", "fd00::/8", "192.168.1.20/32"]' in (refused.value.suggestion or "")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.1.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "168.63.129.16",
        "100.100.100.200",
        "[::]",
        "[ff02::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
    ],
)
def test_what_is_nobodys_receiver_is_not_offered(host: str) -> None:
    with pytest.raises(Refused, match="not a public address") as refused:
        check(f"http://{host}/", "10.0.0.0/8")
    assert refused.value.suggestion is None


# What a name stands for at the moment of the call → whether it may be called.
@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%eth0"],
        ["192.168.0.1", "127.0.0.1"],
        ["64:ff9b::a00:1"],
        ["0.0.0.0"],
        [],
    ],
)
def test_a_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    with receiving() as receiver:
        port = receiver.server.server_address[1]
        outcome = safe_post.post(
            f"http://innocent.example:{port}/",
            b"x",
            {},
            timeout_seconds=2,
            allowed_private_cidrs=(),
            resolver=lambda name, port: addresses,
        )
        assert outcome.error is not None
        assert outcome.error.startswith("Refused: innocent.example leads to no public address")
        for address in addresses:
            assert address.partition("%")[0] not in outcome.error, "people who set webhooks are told nothing of this network"
        assert not addresses or outcome.for_log
        assert receiver.received == []


def test_this_machine_knows_its_own_addresses() -> None:
    assert safe_post._is_own("127.0.0.1")
    assert not safe_post._is_own("192.0.2.1")
    assert not safe_post._is_own("2001:db8::1")


@pytest.mark.parametrize("host", ["9.9.9.9", "receiver.example", "[2620:fe::fe]"])
@pytest.mark.parametrize(("port", "allowed", "is_called"), [(8333, (), False), (443, (), True), (80, (), True),
                                                            (8333, ("9.9.9.9/32", "2620:fe::fe/128"), True)])  # fmt: skip
def test_a_public_address_of_this_machine_is_no_way_around_its_firewall(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int, allowed: tuple[str, ...], is_called: bool
) -> None:
    """What it calls at its own public address never leaves it: a firewall that lets nobody else in sees nothing of it."""
    connected: list[str] = []

    def connect(addresses: list[str], *_: object) -> socket.socket:
        connected.extend(addresses)
        raise OSError("nobody is called in this test")

    monkeypatch.setattr(safe_post, "_is_own", lambda address: True)
    monkeypatch.setattr(safe_post, "_first_that_answers", connect)
    url = f"http://{host}:{port}/"
    outcome = safe_post.post(
        url, b"", {}, timeout_seconds=5, allowed_private_cidrs=allowed, resolver=lambda name, port: ["9.9.9.9", "2620:fe::fe"]
    )
    assert bool(connected) == is_called
    assert (outcome.error or "").startswith("nobody" if is_called else "Refused: ")
    if not is_called:
        assert "address of this machine" in (outcome.for_log or "")
        assert "9.9.9.9" in host or "9.9.9.9" not in (outcome.error or "")


def test_what_is_not_called_takes_no_time_that_tells_of_the_network() -> None:
    """How long a look-up takes says whether a name is one of this network's."""

    def slow(name: str, port: int) -> list[str]:
        time.sleep(0.05)
        return ["10.0.0.1"]

    outcome = safe_post.post("http://db.example/", b"", {}, timeout_seconds=5, allowed_private_cidrs=(), resolver=slow)
    assert (outcome.duration_ms, outcome.status_code) == (0, None)


def test_the_address_that_was_checked_is_the_one_that_is_called() -> None:
    """DNS rebinding: the second answer would be another address, but nobody asks a second time."""
    asked = []

    def rebinding(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with receiving() as receiver:
        port = receiver.server.server_address[1]
        outcome = safe_post.post(
            f"http://receiver.example:{port}/a?b=c",
            b"body",
            {"X-Test": "1"},
            timeout_seconds=5,
            allowed_private_cidrs=LOOPBACK,
            resolver=rebinding,
        )
        assert (outcome.status_code, outcome.excerpt, outcome.error) == (200, "ok", None)
        assert asked == ["receiver.example"]
        (received,) = receiver.received
        assert (received.path, received.body) == ("/a?b=c", b"body")
        assert received.headers["Host"] == f"receiver.example:{port}"
        refused = safe_post.post(
            f"http://receiver.example:{port}/", b"", {}, timeout_seconds=5, allowed_private_cidrs=LOOPBACK, resolver=rebinding
        )
        assert refused.for_log is not None
        assert "10.0.0.1" in refused.for_log
        assert "10.0.0.1" not in (refused.error or "")


def test_of_several_addresses_only_allowed_ones_are_called() -> None:
    with receiving() as receiver:
        port = receiver.server.server_address[1]
        outcome = safe_post.post(
            f"http://receiver.example:{port}/",
            b"",
            {},
            timeout_seconds=5,
            allowed_private_cidrs=["127.0.0.1/32"],
            resolver=lambda name, port: ["127.0.0.2", "10.0.0.1", "127.0.0.1"],
        )
        assert outcome.status_code == 200


def post(url: str, timeout_seconds: int = 5) -> Outcome:
    return safe_post.post(url, b"{}", {"Content-Type": "application/json"}, timeout_seconds=timeout_seconds, allowed_private_cidrs=LOOPBACK)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with receiving() as elsewhere, receiving(answering(status, Location=elsewhere.url)) as receiver:
        outcome = post(receiver.url)
        assert outcome.status_code == status
        assert outcome.error == f"Redirects are not followed (to {elsewhere.url})"
        assert elsewhere.received == []


def test_an_endless_answer_is_read_up_to_the_cap() -> None:
    sent = []

    def endless(handler: Handler, received: Received) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while True:
                handler.wfile.write(b"x" * 65536)
                sent.append(65536)

    with receiving(endless) as receiver:
        outcome = post(receiver.url)
    assert (outcome.status_code, outcome.error) == (200, None)
    assert outcome.excerpt == "x" * 1000
    assert sum(sent) < 64 * 1024**2


def test_a_redirect_needs_somewhere_to_go() -> None:
    with receiving(answering(304)) as receiver:
        outcome = post(receiver.url)
    assert (outcome.status_code, outcome.error) == (304, None)


def flood(head: bytes, unit: bytes, sent: list[int]) -> Callable[[socket.socket], None]:
    """Send `head`, then `unit` over and over until the other side has had enough."""

    def behaviour(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(head)
        while True:
            connection.sendall(unit)
            sent.append(len(unit))

    return behaviour


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        (CHUNKED + b"-1\r\n", b"x" * 65536),
        (CHUNKED + b"-7fffffff\r\n", b"x" * 65536),
        (CHUNKED, b"1;" + b"x" * 60_000 + b"\r\ny\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 60_000 + b"\r\n"),
    ],
)
def test_a_flood_is_cut_off_whatever_its_framing_says(head: bytes, unit: bytes) -> None:
    sent: list[int] = []
    tracemalloc.start()
    try:
        with raw_server(flood(head, unit, sent)) as port:
            outcome = post(f"http://127.0.0.1:{port}/")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (outcome.error or "").startswith("The answer can't be read: ")
    assert outcome.duration_ms < 4000, "it does not wait for the deadline"
    assert peak < 8 * 1024**2
    assert sum(sent) < 64 * 1024**2


def test_a_flood_below_the_cap_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_post, "_MAX_WIRE_BYTES", 1 << 40)
    monkeypatch.setattr(safe_post, "_MAX_ANSWER_BYTES", 1 << 40)
    began = time.monotonic()
    with raw_server(flood(CHUNKED, b"1\r\ny\r\n" * 1000, [])) as port:
        outcome = post(f"http://127.0.0.1:{port}/", timeout_seconds=1)
    assert time.monotonic() - began < 4
    assert outcome.error == "No complete answer within 1 seconds"


def test_small_chunks_are_read_up_to_the_cap() -> None:
    with raw_server(flood(CHUNKED, b"1\r\ny\r\n" * 1000, [])) as port:
        outcome = post(f"http://127.0.0.1:{port}/")
    assert (outcome.status_code, outcome.excerpt, outcome.error) == (200, "y" * 1000, None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n\r\n", 500),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 101),
    ],
)
def test_interim_answers_are_not_the_answer(answer: bytes, expected: int) -> None:
    def behaviour(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(answer)

    with raw_server(behaviour) as port:
        assert post(f"http://127.0.0.1:{port}/").status_code == expected


def test_an_answer_that_breaks_off_does_not_count() -> None:
    def broken(handler: Handler, received: Received) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")

    with receiving(broken) as receiver:
        outcome = post(receiver.url)
    assert (outcome.status_code, outcome.excerpt, outcome.error) == (200, "half", "The answer broke off")


@pytest.mark.parametrize(
    "noise", [b"\x00\xff\xfe", b"HTTP/1.1 \x1b[2J\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000, b""]
)
def test_nonsense_is_an_outcome_and_no_crash(noise: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(noise)) as port:
        outcome = post(f"http://127.0.0.1:{port}/")
    assert outcome.status_code is None
    assert outcome.error
    assert outcome.error.isprintable(), "it goes to a log"
    assert len(outcome.error) <= 500


def hang(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def drip_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.2)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def drip_an_interim_answer(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 100 Continue\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def drip_handshake(connection: socket.socket) -> None:
    connection.recv(10_000)
    for byte in b"\x16\x03\x03\x40\x00\x02" + b"\x00" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("scheme", "behaviour"),
    [
        ("http", hang),
        ("http", drip_head),
        ("http", drip_body),
        ("http", drip_an_interim_answer),
        ("https", hang),
        ("https", drip_handshake),
    ],
)
def test_one_deadline_holds_for_everything(scheme: str, behaviour: object) -> None:
    with raw_server(behaviour) as port:
        began = time.monotonic()
        outcome = post(f"{scheme}://127.0.0.1:{port}/", timeout_seconds=1)
        assert time.monotonic() - began < 3
    assert outcome.error == "No complete answer within 1 seconds"


def test_a_slow_resolver_is_left_behind() -> None:
    released = threading.Event()

    def slow(name: str, port: int) -> list[str]:
        released.wait(30)
        return ["8.8.8.8"]

    began = time.monotonic()
    outcome = safe_post.post("http://slow.example/", b"", {}, timeout_seconds=1, allowed_private_cidrs=(), resolver=slow)
    assert time.monotonic() - began < 3
    assert outcome.error == "No complete answer within 1 seconds"
    released.set()


def test_a_name_that_is_not_there_and_a_port_that_nobody_listens_on() -> None:
    def nobody(name: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    unknown = safe_post.post("http://nowhere.example/", b"", {}, timeout_seconds=5, allowed_private_cidrs=(), resolver=nobody)
    assert "nowhere.example leads to no public address" in (unknown.error or "")
    assert "nowhere.example can't be looked up" in (unknown.for_log or "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "Connection refused" in (post(f"http://127.0.0.1:{taken.getsockname()[1]}/").error or "")


@contextmanager
def raw_server(behaviour: object) -> Iterator[int]:
    """A TCP server that does anything but speak proper HTTP."""
    assert callable(behaviour)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    behaviour(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def tls_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver with a certificate for secure.example, which this process trusts."""
    certificate = make_certificate(tmp_path / "certificate.pem", "secure.example", "127.0.0.9")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    safe_post._tls.cache_clear()
    with receiving() as receiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        yield receiver
    safe_post._tls.cache_clear()


def test_tls_is_verified_against_the_name_not_the_address(tls_receiver: Receiver) -> None:
    port = tls_receiver.server.server_address[1]

    def call(name: str) -> Outcome:
        return safe_post.post(
            f"https://{name}:{port}/",
            b"{}",
            {},
            timeout_seconds=5,
            allowed_private_cidrs=LOOPBACK,
            resolver=lambda name, port: ["127.0.0.1"],
        )

    assert (call("secure.example").status_code, call("secure.example").error) == (200, None)
    other = call("other.example")
    assert other.status_code is None
    assert "certificate" in (other.error or "")
    assert "certificate" in (call("127.0.0.1").error or "")
    assert tls_receiver.received[0].headers["Host"] == f"secure.example:{port}"


def test_a_certificate_that_nobody_knows_is_refused(tls_receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    safe_post._tls.cache_clear()
    outcome = post(tls_receiver.url.replace("http://", "https://"))
    assert "certificate" in (outcome.error or "")
    assert tls_receiver.received == []
