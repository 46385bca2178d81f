"""Whether an engine's internal ports let in who has no business there: tried as another user of this machine would try it.

A server that takes a gRPC client greets it with an HTTP/2 SETTINGS frame (RFC 9113, 3.4); one that asks for a certificate hangs
up on a client without it. Nothing is asked for, so nothing is changed, whatever the server would have allowed.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path

from uploadkit.objectstore.bundled import internal_tls

TIMEOUT_SECONDS = 5.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER_BYTES, _SETTINGS = 9, 4
# Where a gRPC server listens: a port on loopback, or a Unix socket.
Address = int | Path


class NoAnswer(Exception):
    """The port can't be reached, or neither greets nor hangs up: nothing can be said about it. `str(error)` says which."""


def accepted_untrusted_client(address: Address) -> str | None:
    """Return what the gRPC server at `address` let in that it should not have, None where it refused all three. Raises NoAnswer."""
    if _greets(address, None):
        return "a client without TLS"
    if _greets(address, _untrusted_client()):
        return "a client without a certificate"
    with tempfile.TemporaryDirectory(prefix="uploadkit-") as folder:
        foreign = _untrusted_client()
        foreign.load_cert_chain(internal_tls.make_foreign(Path(folder)))
    return "a certificate that is not the store's" if _greets(address, foreign) else None


def accepts_us(address: Address, directory: Path) -> bool:
    """Say whether the server at `address` is the engine of `directory`, and lets the appliance in. Raises NoAnswer, OSError."""
    context = ssl.create_default_context(cafile=str(directory / internal_tls.FOLDER / internal_tls.AUTHORITY))
    context.check_hostname = False  # it has none: the authority signed one certificate only
    context.load_cert_chain(directory / internal_tls.FOLDER / internal_tls.IDENTITY)
    return _greets(address, context)


def _untrusted_client() -> ssl.SSLContext:
    """What a thief speaks TLS with: he doesn't care whose server it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _greets(address: Address, context: ssl.SSLContext | None) -> bool:
    try:
        connection = _connected(address)
    except OSError as error:
        raise NoAnswer(f"can't be reached: {error.strerror or error}") from None
    with connection:
        try:
            if context is None:
                return _is_greeting(connection)
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(connection) as secured:
                return _is_greeting(secured)
        except TimeoutError:
            raise NoAnswer(f"neither greets nor hangs up for {TIMEOUT_SECONDS:.0f} s") from None
        except OSError:  # hung up, or refused by an alert: with TLS 1.3 that comes after the client's own handshake
            return False


def _connected(address: Address) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=TIMEOUT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_SECONDS)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


def _is_greeting(connection: socket.socket) -> bool:
    connection.sendall(_PREFACE)
    header = b""
    while len(header) < _FRAME_HEADER_BYTES:
        received = connection.recv(_FRAME_HEADER_BYTES - len(header))
        if not received:
            return False
        header += received
    return header[3] == _SETTINGS
