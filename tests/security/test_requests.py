"""Requests that servers read in different ways, and headers that outsiders may send. What is no HTTP at all: acceptance/test_http.py."""

from __future__ import annotations

import re
import socket

import pytest

from tests.support.appliance import Appliance

SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
POST = b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
# A proxy in front of the appliance may see one request where the appliance sees two, or the other way round.
AMBIGUOUS = {
    "Transfer-Encoding beside Content-Length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + CHUNKED,
    "Content-Length before Transfer-Encoding": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "Transfer-Encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKED,
    "an empty Transfer-Encoding first": POST + b"Transfer-Encoding: ,chunked\r\n\r\n" + CHUNKED,
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKED,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
    "a no-break space": POST + b"Transfer-Encoding: chunked\xa0\r\n\r\n" + CHUNKED,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "a header in two lines": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED,
    "in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "in HTTP/9.9": POST.replace(b"1.1", b"9.9") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "the same Content-Length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two in one Content-Length": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "Content-Length +2": POST + b"Content-Length: +2\r\n\r\n{}",
    "Content-Length 0x2": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "Content-Length 2_0": POST + b"Content-Length: 2_0\r\n\r\n{}",
    "Content-Length ²": POST + b"Content-Length: \xb2\r\n\r\n{}",
    "a chunk of negative size": POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk of size 0x2": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk that ends in a bare line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nx-a: b\x00c\r\n\r\n",
    "an escape in a header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[2J\r\n\r\n",
    "a bare carriage return in a header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nx-a: b\rx-api-key: c\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/0.9 with headers": b"GET /api/v1/files\r\nHost: a\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a target without a slash": b"GET healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target of another scheme": b"GET file:///healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method of control characters": b"\x1b[2J /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET /healthz HTTP/1.1\r\nx-a: b\r\n\r\n",
    "an empty Host": b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same Host twice": b"GET /healthz HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET /healthz HTTP/1.0\r\nHost: a\r\nHOST:\tb\r\n\r\n",
    "two in one Host": b"GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a Host with a path": b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "a Host with a space": b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host of a port": b"GET /healthz HTTP/1.1\r\nHost: :80\r\n\r\n",
    "a Host with a port of letters": b"GET /healthz HTTP/1.1\r\nHost: a:http\r\n\r\n",
    "a Host with two ports": b"GET /healthz HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
    "a Host with half a bracket": b"GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a Host of other alphabets": b"GET /healthz HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
    "a Host that is too long": b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n",
    "a method with a line's end of other alphabets": b"GET\x85FORGED /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
}


def everything_said(appliance: Appliance, *sent: bytes) -> bytes:
    """Send bytes; return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(b"".join(sent))
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_with_it(appliance: Appliance, name: str) -> None:
    message = everything_said(appliance, AMBIGUOUS[name], SMUGGLED)
    assert re.findall(rb"^HTTP/1\.[01] (\d+)", message, re.MULTILINE) in ([b"400"], [b"501"]), message
    assert b'"status":"ok"' not in message, "what came behind it was not taken for a request"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.0\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:up_load-kit:8080 \t\r\nConnection: close\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:\r\nConnection: close\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:8080\r\nX-Forwarded-Host: a, b\r\nConnection: close\r\n",
    ],
)
def test_hosts_that_are_one(appliance: Appliance, head: bytes) -> None:
    assert b'"status":"ok"' in everything_said(appliance, head, b"\r\n")


def test_what_is_refused_by_its_headers_is_not_asked_for_its_body(appliance: Appliance) -> None:
    message = everything_said(appliance, POST, b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
    assert message.startswith(b"HTTP/1.1 413"), "and no 100 before it"


@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
def test_a_request_without_a_body_waits_for_none(appliance: Appliance, length: bytes) -> None:
    """Some proxies send `Expect` with everything; it kept the connection for a minute, without an answer."""
    message = everything_said(appliance, SMUGGLED[:-2], length, b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
    assert message.startswith(b"HTTP/1.1 200")
    assert b'"status":"ok"' in message


def test_who_waits_to_be_asked_for_a_body_is_asked(appliance: Appliance) -> None:
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_two_requests_in_one_go_are_two(appliance: Appliance) -> None:
    last = SMUGGLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    message = everything_said(
        appliance, b"\r\n", SMUGGLED, SMUGGLED.replace(b"1.1", b"1.0", 1).replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), last
    )
    assert message.count(b'"status":"ok"') == 3


@pytest.mark.parametrize(
    "target", ["/dashboard", "http://elsewhere.example/dashboard", "/dashboard/", "/", "/docs", "/api/v1/files", "/nowhere"]
)
def test_the_host_that_a_client_names_stands_in_no_answer(appliance: Appliance, target: str) -> None:
    head = (
        f"GET {target} HTTP/1.1\r\nHost: elsewhere.example\r\nX-Forwarded-Host: elsewhere.example\r\nForwarded: host=elsewhere.example\r\n"
    )
    head += f"x-api-key: {appliance.key}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    message = everything_said(appliance, head.encode())
    assert message.startswith(b"HTTP/1.1 ")
    assert b"elsewhere" not in message


def test_urls_name_the_public_url_whatever_the_host(appliance: Appliance) -> None:
    reported = appliance.request(5, key=appliance.key).json
    assert reported["cdnUrl"].startswith(appliance.base)
    answer = appliance.call("GET", f"/files/{reported['key']}", headers={"Host": "elsewhere.example"})
    assert answer.json["url"].startswith(appliance.base)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "x"])
def test_a_compressed_body_is_never_unpacked(appliance: Appliance, coding: str) -> None:
    answer = appliance.call("POST", "/upload/complete", b'{"fileId":"x"}', headers={"Content-Encoding": coding})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert appliance.call("POST", "/upload/complete", b'{"fileId":"x"}', headers={"Content-Encoding": "identity"}).status == 404


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "DEBUG", "PROPFIND", "MOVE", "PUT", "X-ODD", "GET.", "A" * 4000])
def test_methods_that_nobody_offers(appliance: Appliance, method: str) -> None:
    for path in ("/api/v1/files", "/healthz", "/dashboard/sign-in", "/f/x", "/sdk/api/v1/files", "/api/uploadkit/default"):
        answer = appliance.fetch(method, f"{appliance.base}{path}", headers={"x-api-key": appliance.key, "Cookie": "hush=hush"})
        assert answer.status in (400, 404, 405), (method, path)
        assert b"hush" not in answer.body, "nothing that was sent comes back"


def test_a_method_in_another_ones_clothes_is_the_one_that_was_sent(appliance: Appliance) -> None:
    file = appliance.upload()
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert appliance.call("GET", f"/files/{file['key']}?_method=DELETE", headers={header: "DELETE"}).status == 200
        appliance.call("POST", f"/files/{file['key']}", headers={header: "DELETE"})
    for header in ("X-Original-URL", "X-Rewrite-URL"):
        assert appliance.fetch("GET", f"{appliance.base}/healthz", headers={header: "/dashboard/"}).json["status"] == "ok"
    assert appliance.call("GET", f"/files/{file['key']}").json["status"] == "UPLOADED"
