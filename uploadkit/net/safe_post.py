"""One POST to an address that users name (url_policy.py says which may be), that can't be led elsewhere or held up.

A name is resolved once, each address is checked, and the connection goes to the address that was checked: a name that changes its
meaning in between (DNS rebinding) changes nothing. No redirect is followed, the answer is read up to a cap whatever its framing says, and
one deadline holds for everything together, name look-up, TLS handshake and an answer that drips or floods included. Knows nothing of
webhooks.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from uploadkit.core import clock
from uploadkit.net import url_policy
from uploadkit.net.url_policy import DEFAULT_PORTS, Refused, Target, is_allowed, not_public, parse, require_allowed, unreachable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Resolver = Callable[[str, int], Sequence[str]]

_MAX_ANSWER_BYTES = 64 * 1024
# With the head, interim answers, and the framing of chunks as small as they come.
_MAX_WIRE_BYTES = 8 * _MAX_ANSWER_BYTES
_MOST_INTERIM_ANSWERS = 10
_EXCERPT_CHARACTERS = 1000
_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Outcome:
    """What came of a call: the answer's status, its beginning and `Retry-After` as it was sent, or the error that there was none.

    `error` is also set for an answer that broke off. `duration_ms` is how long it all took, 0 where nothing was called. `for_log` is what
    the appliance's owner may know beside that, and nobody else: where a name leads in their network.
    """

    status_code: int | None
    excerpt: str | None
    retry_after: str | None
    error: str | None
    duration_ms: int
    for_log: str | None = None


def resolve(name: str, port: int) -> list[str]:
    """Return the addresses of a name, as this machine looks it up. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: int,
    allowed_private_cidrs: Sequence[str],
    resolver: Resolver = resolve,
) -> Outcome:
    """POST `body` to `url`; whatever becomes of it is told in the outcome. All of it together takes `timeout_seconds` at most."""
    began = clock.monotonic_ms()
    deadline = began + timeout_seconds * 1000
    status_code = excerpt = retry_after = error = for_log = None
    try:
        target = parse(url)
        with _connected(target, deadline, allowed_private_cidrs, resolver) as line:
            _send(line, target, body, headers)
            answer = _Answer(line)
            status_code, retry_after, location = answer.status, answer.getheader("Retry-After"), answer.getheader("Location")
            if location and 300 <= status_code < 400:  # to an address that nobody checked
                error = f"Redirects are not followed (to {location})"
            content = answer.read(_MAX_ANSWER_BYTES)
            excerpt = content.decode("utf-8", "replace")[:_EXCERPT_CHARACTERS]
            if answer.length and len(content) < _MAX_ANSWER_BYTES:
                error = error or "The answer broke off"
    except Refused as refusal:
        began = clock.monotonic_ms()  # nothing was called; how long the look-up took would say whether a name is one of this network's
        error, for_log = f"Refused: {refusal}" + (f". {refusal.suggestion}" if refusal.suggestion else ""), refusal.for_log
    except TimeoutError:
        error = f"No complete answer within {timeout_seconds} seconds"
    except OSError as failure:
        error = str(failure)
    except (http.client.HTTPException, ValueError) as failure:
        error = f"The answer can't be read: {type(failure).__name__}: {failure}"
    duration_ms = clock.monotonic_ms() - began
    return Outcome(status_code, excerpt, retry_after, error and _one_line(error), duration_ms, for_log and _one_line(for_log))


def _send(line: _Line, target: Target, body: bytes, headers: Mapping[str, str]) -> None:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.default_port = DEFAULT_PORTS[target.scheme]
    connection.sock = line
    connection.request("POST", target.path, body, dict(headers))


def _one_line(text: str) -> str:
    """What a receiver sent may be in it, and people read it in a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST_ERROR]).split()) or "No answer"


class _Answer(http.client.HTTPResponse):
    """The final answer on a connection. http.client skips no interim answer but 100, and believes a chunk that it has a negative size."""

    def __init__(self, line: _Line) -> None:
        super().__init__(line, method="POST")  # type: ignore[arg-type]
        self.begin()

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM_ANSWERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim answers")

    def _safe_read(self, amount: int) -> bytes:
        if amount < 0:  # "all there is", to the stream
            raise http.client.HTTPException("a chunk of negative size")
        return bytes(super()._safe_read(amount))  # type: ignore[misc]


class _Line:
    """A connection until `deadline`, whatever the other side does: each step gets the time that is left, and no more.

    Python holds a whole `sendall`, a whole TLS handshake and each read to the socket's time-out, not every packet of them.
    """

    def __init__(self, connection: socket.socket, deadline: int) -> None:
        self._connection, self._deadline = connection, deadline

    def start_tls(self, name: str) -> None:
        self._connection = _tls().wrap_socket(self._in_time(), server_hostname=name)

    def sendall(self, data: bytes) -> None:
        self._in_time().sendall(data)

    def receive_into(self, buffer: memoryview) -> int:
        return self._in_time().recv_into(buffer)

    def close(self) -> None:
        self._connection.close()

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Wire(self))

    def _in_time(self) -> socket.socket:
        self._connection.settimeout(_seconds_left(self._deadline))
        return self._connection


class _Wire(io.RawIOBase):
    """What comes in on a line, as much as it may be."""

    def __init__(self, line: _Line) -> None:
        self._line, self._left = line, _MAX_WIRE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._left:
            raise http.client.HTTPException("too long")
        count = self._line.receive_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


@contextmanager
def _connected(target: Target, deadline: int, allowed_private_cidrs: Sequence[str], resolver: Resolver) -> Iterator[_Line]:
    """A line to an address of `target` that was checked. Raises Refused, OSError, TimeoutError."""
    require_allowed(target, allowed_private_cidrs)
    addresses = _checked_addresses(target, _resolved(target, deadline, resolver), allowed_private_cidrs)
    line = _Line(_first_that_answers(addresses, target.port, deadline), deadline)
    try:
        if target.scheme == "https":
            line.start_tls(target.host)
        yield line
    finally:
        line.close()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _resolved(target: Target, deadline: int, resolver: Resolver) -> Sequence[str]:
    """The addresses of a target; a resolver that takes too long is left behind. Raises Refused, TimeoutError."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(target.host))]
    found: list[Sequence[str] | Exception] = []

    def look_up() -> None:
        try:
            found.append(resolver(target.host, target.port))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(_seconds_left(deadline))
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise unreachable(target.host, f"{target.host} can't be looked up: {found[0]}")
    return found[0]


def _checked_addresses(target: Target, addresses: Sequence[str], allowed_private_cidrs: Sequence[str]) -> list[str]:
    """Those addresses that may be called. Raises Refused when none may."""
    parsed = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    allowed = [str(address) for address in parsed if is_allowed(address, allowed_private_cidrs)]
    if not parsed:
        raise unreachable(target.host, f"{target.host} has no address")
    if not allowed:
        raise not_public(target.host, parsed[0], allowed_private_cidrs)
    others = [address for address in allowed if not _is_behind_the_firewall(address, target.port, allowed_private_cidrs)]
    if not others:
        why = f"an address of this machine, and port {target.port} is not {' or '.join(map(str, DEFAULT_PORTS.values()))}"
        raise unreachable(target.host, f"{target.host} is {allowed[0]}, {why}; webhooks.allowed_private_cidrs can allow it")
    return others


def _is_behind_the_firewall(address: str, port: int, allowed_private_cidrs: Sequence[str]) -> bool:
    """Whether a call would reach a service of this machine that a firewall may keep from all others: it would never leave the machine."""
    is_listed = url_policy.is_listed(ipaddress.ip_address(address), allowed_private_cidrs)
    return port not in DEFAULT_PORTS.values() and not is_listed and _is_own(address)


def _is_own(address: str) -> bool:
    """Whether an address is one of this machine's: what is sent there has it as the sender, too. Nothing is sent to find out."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
        return str(probe.getsockname()[0]) == address


def _first_that_answers(addresses: Sequence[str], port: int, deadline: int) -> socket.socket:
    """Connect to one of `addresses`. Raises OSError, TimeoutError."""
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout=_seconds_left(deadline) / 2)
    return socket.create_connection((addresses[-1], port), timeout=_seconds_left(deadline))


def _seconds_left(deadline: int) -> float:
    left = (deadline - clock.monotonic_ms()) / 1000
    if left <= 0:
        raise TimeoutError
    return left
