"""Who is believed about where a request comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from uploadkit.config import ServerConfig
from uploadkit.web import forwarded

PROXIES = ServerConfig(trusted_proxies=("10.0.0.0/8", "fd00::/8"))


def request(remote: str, **headers: str) -> Request:
    environ = EnvironBuilder(headers={name.replace("_", "-"): value for name, value in headers.items()}).get_environ()
    return Request(environ | {"REMOTE_ADDR": remote})


@pytest.mark.parametrize(
    ("remote", "said", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # nobody trusts that header from there
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the client wrote what is left of it
        ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "10.2.3.4, 10.2.3.5", "10.2.3.4"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("fd00::1", "2001:DB8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", ", ,", "10.0.0.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_clients_address(remote: str, said: str, client: str) -> None:
    assert forwarded.client_address(request(remote, X_Forwarded_For=said), PROXIES) == client


@pytest.mark.parametrize(
    ("remote", "said", "is_https"),
    [
        ("192.0.2.1", "https", False),
        ("10.0.0.1", "https", True),
        ("10.0.0.1", "HTTPS", True),
        ("10.0.0.1", "http, https", True),
        ("10.0.0.1", "https, http", False),
        ("10.0.0.1", "", False),
        ("::ffff:10.0.0.1", "https", True),
    ],
)
def test_whether_it_came_by_https(remote: str, said: str, is_https: bool) -> None:
    assert forwarded.arrived_by_https(request(remote, X_Forwarded_Proto=said), PROXIES) is is_https


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255)), st.text(st.characters(min_codepoint=32, max_codepoint=255)))
def test_no_header_makes_it_fail_or_believe_an_outsider(forwarded_for: str, forwarded_proto: str) -> None:
    headers = {"X_Forwarded_For": forwarded_for, "X_Forwarded_Proto": forwarded_proto}
    forwarded.client_address(request("10.0.0.1", **headers), PROXIES)
    outsider = request("192.0.2.1", **headers)
    assert forwarded.client_address(outsider, PROXIES) == "192.0.2.1"
    assert not forwarded.arrived_by_https(outsider, PROXIES)
