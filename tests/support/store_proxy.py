"""A proxy in front of a real store that makes it answer as other stores do: stricter, laxer, by their own rules, or not at all."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from uploadkit.objectstore.address import StoreAddress

_OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-length", "keep-alive", "expect"}
_OF_A_SIGNATURE = {"authorization", "x-amz-date", "x-amz-content-sha256", "host", "origin", "accept-encoding", "user-agent"}


@dataclass(frozen=True)
class Asked:
    """A request to the store, path-style."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def key(self) -> str:
        """The object's key, percent-encoded; "" when the bucket itself is asked for."""
        return urlsplit(self.target).path.lstrip("/").partition("/")[2]

    @property
    def is_copy(self) -> bool:
        return "x-amz-copy-source" in {name.lower() for name in self.headers}

    def without(self, header: str) -> Asked:
        return replace(self, headers={name: value for name, value in self.headers.items() if name.lower() != header})

    def signed_by(self, address: StoreAddress, *, plain: bool = False) -> Asked:
        """The same request with a signature of `address`'s owner; `plain` drops what a presigned URL says."""
        path = urlsplit(self.target).path if plain else self.target
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _OF_A_SIGNATURE | _OF_THE_CONNECTION}
        request = AWSRequest(self.method, f"{address.endpoint}{path}", headers=kept, data=self.body)
        S3SigV4Auth(Credentials(address.access_key_id, address.secret_access_key), "s3", address.region).add_auth(request)
        return Asked(self.method, path, {**dict(request.headers.items()), "Host": urlsplit(address.endpoint).netloc}, self.body)


@dataclass
class Answered:
    """The store's answer. With `raw`, these bytes go out as they come, however slowly, and then the connection is closed."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: Iterable[bytes] | None = None

    @classmethod
    def error(cls, status: int, code: str) -> Answered:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>'
        return cls(status, {"Content-Type": "application/xml"}, body.encode())


PassOn = Callable[[Asked], Answered]
Rule = Callable[[Asked, PassOn], Answered]


@contextmanager
def proxied(address: StoreAddress, rule: Rule, certificate: Path | None = None) -> Iterator[StoreAddress]:
    """Answer at another address as `rule(asked, pass_on)` says, where `pass_on` asks the store at `address`; yield that address.

    With a `certificate` (and its key, in one file) that is an https:// one.
    """

    def pass_on(asked: Asked) -> Answered:
        connection = http.client.HTTPConnection(urlsplit(address.endpoint).netloc, timeout=60)
        try:
            connection.putrequest(asked.method, asked.target, skip_host=True, skip_accept_encoding=True)
            for name, value in asked.headers.items():
                if name.lower() not in _OF_THE_CONNECTION:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(asked.body)))
            connection.endheaders(asked.body)
            answer = connection.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answered = rule(Asked(self.command, self.path, dict(self.headers.items()), body), pass_on)
            if answered.raw is not None:
                self.close_connection = True
                with contextlib.suppress(ConnectionError):
                    for some in answered.raw:
                        self.wfile.write(some)
                return
            self.send_response_only(answered.status)
            for name, value in answered.headers.items():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            size = answered.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answered.body))
            if answered.status != 204:
                self.send_header("Content-Length", size)
            with contextlib.suppress(ConnectionError):  # a browser may be gone by now
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answered.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        # The handshake is the handler's, or one client that says nothing would keep all others waiting.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    here = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield replace(address, endpoint=here, public_endpoint=here)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def minimal_permissions(owner: StoreAddress) -> Rule:
    """AWS with s3:PutObject, GetObject, DeleteObject and AbortMultipartUpload, and nothing more; it ignores conditions on copies."""

    def rule(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        denied = Answered.error(403, "AccessDenied")
        if asked.method == "HEAD":
            denied.body = b""
        if asked.method == "OPTIONS":
            return pass_on(asked)
        if not asked.key:  # HeadBucket, ListObjects, ListMultipartUploads, CreateBucket, GetBucketCors …
            return Answered.error(501, "NotImplemented") if asked.method == "PUT" and "cors" in asked.query else denied
        if asked.method == "GET" and "uploadId" in asked.query:  # ListParts
            return denied
        if asked.is_copy:
            return pass_on(asked.without("x-amz-copy-source-if-match").signed_by(owner))
        answered = pass_on(asked)
        return denied if asked.method in ("GET", "HEAD") and answered.status == 404 else answered

    return rule
