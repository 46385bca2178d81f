"""A provider played in front of a real store: by its own host name, over TLS where it has that, with its refusals and its words for them.

The player is an HTTP proxy, so that an appliance that knows it as HTTPS_PROXY reaches `s3.eu-central-1.amazonaws.com` here, and signs for
that name. It checks each signature itself and sends the request on with the signature of the store's owner.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.providers import cors
from tests.providers.profiles import Profile
from tests.providers.signatures import Refusal, check
from tests.support.certificates import make_certificate
from uploadkit.config import Config, load
from uploadkit.objectstore.address import StoreAddress, byos_address

BUCKET = "my-upload-bucket"
KEY_ID, SECRET = "PLAYEDKEY1234567", "played-secret-that-nobody-else-has"
_SMALLEST_PART = 5 * 1024**2
_OWN_RULES = ("cors", "lifecycle")
# Not handed on, nor back: of the connection, of the signature, of what the player decides, and what means something to a MinIO behind only.
_KEPT_BACK = re.compile(
    r"connection|transfer-encoding|content-length|keep-alive|expect|proxy-.*|authorization|x-amz-date|x-amz-content-sha256|host|origin"
    r"|accept-encoding|user-agent|access-control-.*|vary|server|date|amz-sdk-.*|x-minio-.*|x-amz-meta-snowball-.*",
    re.IGNORECASE,
)


class _Unhashed(S3SigV4Auth):
    """Signs a request without reading its body, also over plain HTTP."""

    def _should_sha256_sign_payload(self, request: AWSRequest) -> bool:
        return False


@dataclass
class _Part:
    etag: str
    size: int
    at: float


@dataclass
class Asked:
    """A request to the provider; header names small, `key` percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    bucket: str
    key: str
    query: Mapping[str, str]

    def has(self, name: str) -> bool:
        return name in self.query


@dataclass
class Answered:
    """An answer; `rest` is what follows `body` and is still to be read from the store."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    rest: http.client.HTTPResponse | None = None


class Played:
    """One provider, its bucket, and what it has been told and has seen. `store` is the bucket behind it, at its owner's address."""

    def __init__(self, profile: Profile, store: StoreAddress) -> None:
        self.profile, self.store = profile, store
        self.keys = {KEY_ID: SECRET}
        self.clock_offset_seconds = 0.0
        self.told_to_wait = 0  # so many requests are answered 429
        self.busy_every = 0  # each so manyth write is answered 503 at first, as B2 does when a vault is full
        self.asked: list[tuple[str, str, int]] = []  # method, target, status
        self.lifecycle = profile.first_lifecycle
        self._cors: list[cors.CorsRule] = []
        self._cors_document = b""
        self._cors_next: tuple[float, list[cors.CorsRule]] = (0, [])
        self._parts: dict[str, dict[int, _Part]] = {}
        self._shown: dict[str, str] = {}  # the store's ETag, and the one that is shown for it
        self._written: dict[str, float] = {}
        self._writes = 0
        self._lock = threading.Lock()

    @property
    def cors_document(self) -> bytes:
        return self._cors_document

    # Answers.

    def answer(self, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes) -> Answered:
        asked = self._read(method, host, target, headers, body)
        answered = self._preflight(asked) if method == "OPTIONS" else self._checked(asked)
        origin = headers.get("origin")
        if origin and method != "OPTIONS" and (answered.status < 400 or self.profile.cors_on_errors):
            answered.headers |= cors.answer_headers(self._rules(), origin, method)
        answered.headers |= {"Date": formatdate(self.now, usegmt=True)}
        if self.profile.server:
            answered.headers["Server"] = self.profile.server
        self.asked.append((method, target, answered.status))
        return answered

    @property
    def now(self) -> float:
        return time.time() + self.clock_offset_seconds

    def _read(self, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        name, path = host.partition(":")[0], parts.path.lstrip("/")
        base = self.profile.host.partition(":")[0]
        bucket, key = (name.removesuffix("." + base), path) if name.endswith("." + base) and self.profile.vhosts else ("", "")
        if not bucket:
            bucket, _, key = path.partition("/")
        return Asked(method, target, headers, body, bucket, key, query)

    def error(self, status: int, code: str, asked: Asked | None = None) -> Answered:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>'.encode()
        headers = {"Content-Type": "application/xml"}
        if asked is not None and asked.method == "HEAD":
            body = b""
            if self.profile.bodyless_error_header:
                headers[self.profile.bodyless_error_header] = code
        return Answered(status, headers, body)

    def _checked(self, asked: Asked) -> Answered:
        try:
            query_stands_in = self.profile.query_stands_in
            check(asked.method, asked.target, asked.headers, asked.body, self.keys, self.profile.regions, self.now, query_stands_in)
        except Refusal as refusal:
            status, code = self.profile.refusal(refusal.wrong)
            if refusal.wrong == "region" and "X-Amz-Signature" in asked.query and code == "AuthorizationHeaderMalformed":
                code = "AuthorizationQueryParametersError"
            return self.error(status, code, asked)
        if asked.bucket != BUCKET:
            return self.error(404, "NoSuchBucket", asked)
        with self._lock:
            refused = self._refused(asked)
        if refused:
            return self.error(*refused, asked)
        if not asked.key:
            return self._of_bucket(asked)
        return self._of_object(asked)

    def _refused(self, asked: Asked) -> tuple[int, str] | None:
        if self.told_to_wait:
            self.told_to_wait -= 1
            return 429, "TooManyRequests"
        for name, answer in self.profile.missing.items():
            if asked.has(name):
                return answer
        is_write = asked.method in ("PUT", "POST")
        for header in asked.headers if is_write else ():
            for begin, answer in self.profile.refused_headers.items():
                if header.startswith(begin):
                    return answer
        if is_write and asked.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            return 501, "NotImplemented"
        if not is_write or not asked.key:
            return None
        self._writes += 1
        if self.busy_every and self._writes % self.busy_every == 0:
            return 503, "ServiceUnavailable"
        if self.profile.seconds_between_writes and asked.method == "PUT" and not asked.has("partNumber"):
            if time.monotonic() - self._written.get(asked.key, float("-inf")) < self.profile.seconds_between_writes:
                return 429, "TooManyRequests"
            self._written[asked.key] = time.monotonic()
        return None

    # Browsers.

    def _rules(self) -> list[cors.CorsRule]:
        at, rules = self._cors_next
        if at and time.monotonic() >= at:
            self._cors, self._cors_next = rules, (0, [])
        return self._cors or list(self.profile.cors_without_rules)

    def _preflight(self, asked: Asked) -> Answered:
        wanted = asked.headers.get("access-control-request-headers", "").lower()
        headers = [name.strip() for name in wanted.split(",") if name.strip()]
        method = asked.headers.get("access-control-request-method", "")
        star = self.profile.star_is_a_name
        allowed = cors.preflight_headers(self._rules(), asked.headers.get("origin", ""), method, headers, star_is_a_name=star)
        return self.error(403, "AccessForbidden") if allowed is None else Answered(200, allowed)

    # The bucket.

    def _of_bucket(self, asked: Asked) -> Answered:
        if asked.method == "PUT" and not asked.query:
            return self.error(409, "BucketAlreadyOwnedByYou", asked)
        if asked.has("cors") and not self.profile.has_bucket_cors:
            return self.error(501, "NotImplemented", asked)
        if asked.method == "PUT" and any(asked.has(name) for name in _OWN_RULES):
            return self._told(asked)
        if asked.has("cors"):
            return self._document(asked, self._cors_document, "NoSuchCORSConfiguration")
        if asked.has("lifecycle"):
            rules = b"<LifecycleConfiguration>" + self.lifecycle + b"</LifecycleConfiguration>" if self.lifecycle else b""
            return self._document(asked, rules, "NoSuchLifecycleConfiguration")
        return self._ask_store(asked)

    def _document(self, asked: Asked, document: bytes, without: str) -> Answered:
        return Answered(200, {"Content-Type": "application/xml"}, document) if document else self.error(404, without, asked)

    def _told(self, asked: Asked) -> Answered:
        md5 = asked.headers.get("content-md5")
        if self.profile.rules_need_md5 and md5 is None and not any(name.startswith("x-amz-checksum-") for name in asked.headers):
            return self.error(400, "InvalidRequest", asked)
        if md5 is not None and md5.strip() != _md5_of(asked.body):
            return self.error(400, "BadDigest", asked)
        if asked.has("cors"):
            self._cors_document = asked.body
            settled = time.monotonic() + self.profile.cors_settles_seconds
            self._cors_next = (settled, cors.rules_in(asked.body))
            return Answered(200)
        for word, answer in self.profile.refused_lifecycle.items():
            if word in asked.body:
                return self.error(*answer, asked)
        inner = re.search(rb"<LifecycleConfiguration[^>]*>(.*)</LifecycleConfiguration>", asked.body, re.DOTALL)
        if inner is None:
            return self.error(400, "MalformedXML", asked)
        self.lifecycle = inner[1]
        return Answered(200)

    # Objects.

    def _of_object(self, asked: Asked) -> Answered:
        upload_id = asked.query.get("uploadId", "")
        if asked.method == "PUT" and asked.has("partNumber"):
            return self._take_part(asked, upload_id)
        if asked.method == "GET" and upload_id:
            return self._list_parts(asked, upload_id)
        if asked.method == "POST" and upload_id:
            return self._complete(asked, upload_id)
        answered = self._ask_store(asked)
        if asked.method == "POST" and asked.has("uploads") and answered.status == 200:
            begun = ElementTree.fromstring(answered.body).findtext("{*}UploadId") or ""
            self._parts[begun] = {}
        if asked.method == "DELETE" and upload_id:
            self._parts.pop(upload_id, None)
        return self._versioned(asked, answered)

    def _versioned(self, asked: Asked, answered: Answered) -> Answered:
        if self.profile.keeps_versions and asked.method != "GET" and answered.status < 300:
            answered.headers["x-amz-version-id"] = "4_z" + secrets.token_hex(12)
            if asked.method == "DELETE":
                answered.headers["x-amz-delete-marker"] = "true"
        return answered

    def _take_part(self, asked: Asked, upload_id: str) -> Answered:
        if upload_id not in self._parts:
            return self.error(404, "NoSuchUpload", asked)
        if not 1 <= int(asked.query["partNumber"]) <= 10_000:
            return self.error(400, "InvalidArgument", asked)
        answered = self._ask_store(asked)
        if answered.status == 200:
            etag = answered.headers.get("ETag", "")
            self._parts[upload_id][int(asked.query["partNumber"])] = _Part(etag, len(asked.body), self.now)
        return answered

    def _list_parts(self, asked: Asked, upload_id: str) -> Answered:
        parts = self._parts.get(upload_id)
        if parts is None:
            return self.error(404, "NoSuchUpload", asked)
        after, most = int(asked.query.get("part-number-marker", "0")), int(asked.query.get("max-parts", "1000"))
        numbers = [number for number in sorted(parts) if number > after]
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><LastModified>{time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(parts[number].at))}"
            f"</LastModified><ETag>{escape(parts[number].etag)}</ETag><Size>{parts[number].size}</Size></Part>"
            for number in numbers[:most]
        )
        is_cut = str(len(numbers) > most).lower()
        marker = f"<NextPartNumberMarker>{numbers[:most][-1]}</NextPartNumberMarker>" if numbers else ""
        body = (
            f"<ListPartsResult><Bucket>{BUCKET}</Bucket><Key>{escape(unquote(asked.key))}</Key><UploadId>{escape(upload_id)}</UploadId>"
            f"{marker}<MaxParts>{most}</MaxParts><IsTruncated>{is_cut}</IsTruncated>{listed}</ListPartsResult>"
        )
        return Answered(200, {"Content-Type": "application/xml"}, body.encode())

    def _complete(self, asked: Asked, upload_id: str) -> Answered:
        parts = self._parts.get(upload_id)
        if parts is None:
            return self.error(404, "NoSuchUpload", asked)
        named = ElementTree.fromstring(asked.body).findall("{*}Part")
        numbers = [int(part.findtext("{*}PartNumber") or 0) for part in named]
        etags = [(part.findtext("{*}ETag") or "").strip('"') for part in named]
        if numbers != sorted(set(numbers)):
            return self.error(400, "InvalidPartOrder", asked)
        if not numbers or any(n not in parts or parts[n].etag.strip('"') != etag for n, etag in zip(numbers, etags, strict=True)):
            return self.error(400, "InvalidPart", asked)
        sizes = [parts[number].size for number in numbers]
        if any(size < _SMALLEST_PART for size in sizes[:-1]):
            return self.error(400, "EntityTooSmall", asked)
        if self.profile.equal_parts and (len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]):
            return self.error(400, "InvalidPart", asked)
        answered = self._ask_store(asked)
        if answered.status == 200 and b"<Error" not in answered.body:
            self._parts.pop(upload_id, None)
            if self.profile.random_etags_of_parts:
                joined = (ElementTree.fromstring(answered.body).findtext("{*}ETag") or "").strip('"')
                self._shown[joined] = f"{secrets.token_hex(16)}-{len(numbers)}"
                answered.body = self._as_shown(answered.body)
        return self._versioned(asked, answered)

    def _as_shown(self, document: bytes) -> bytes:
        for own, rendered in self._shown.items():
            document = document.replace(own.encode(), rendered.encode())
        return document

    # The store behind.

    def _ask_store(self, asked: Asked) -> Answered:
        query = {name: value for name, value in asked.query.items() if not name.startswith("X-Amz-") and name != "x-id"}
        path = f"/{self.store.bucket}/{asked.key}" if asked.key else f"/{self.store.bucket}"
        target = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {name: self._for_store(name, value) for name, value in asked.headers.items() if not _KEPT_BACK.fullmatch(name)}
        request = AWSRequest(asked.method, self.store.endpoint + target, headers=headers, data=asked.body)
        _Unhashed(Credentials(self.store.access_key_id, self.store.secret_access_key), "s3", self.store.region).add_auth(request)
        connection = http.client.HTTPConnection(urlsplit(self.store.endpoint).netloc, timeout=120)
        connection.putrequest(asked.method, target, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in ("host", "content-length"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(asked.body)))
        connection.putheader("Connection", "close")  # so that the answer owns the socket
        connection.endheaders(asked.body)
        answer = connection.getresponse()
        rendered = {own: theirs for own, theirs in answer.getheaders() if not _KEPT_BACK.fullmatch(own)}
        for name, value in rendered.items():
            if name.lower() == "etag":
                bare = value.strip('"')
                rendered[name] = f'"{self._shown.get(bare, bare)}"'
        if asked.method == "GET" and asked.key and answer.status < 300:
            rendered["Content-Length"] = answer.headers["Content-Length"]
            return Answered(answer.status, rendered, rest=answer)
        if asked.method == "HEAD":
            rendered["Content-Length"] = answer.headers.get("Content-Length", "0")
            if answer.status >= 400 and self.profile.bodyless_error_header:
                rendered[self.profile.bodyless_error_header] = "NoSuchKey"
        with answer:
            body = answer.read()
        return Answered(answer.status, rendered, body if asked.key else self._as_shown(body))

    def _for_store(self, name: str, value: str) -> str:
        if name == "x-amz-copy-source":
            return f"/{self.store.bucket}/" + value.lstrip("/").removeprefix(BUCKET + "/")
        if name in ("if-match", "x-amz-copy-source-if-match"):
            for own, rendered in self._shown.items():
                value = value.replace(rendered, own)
        return value


def _md5_of(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@dataclass(frozen=True)
class Stage:
    """Where a played provider is reached: `proxy` is the address of the player, `ca_bundle` vouches for the provider's names."""

    played: Played
    proxy: str
    ca_bundle: Path

    @property
    def profile(self) -> Profile:
        return self.played.profile

    @property
    def surroundings(self) -> dict[str, str]:
        """The environment in which the provider's names lead here."""
        return {"HTTP_PROXY": self.proxy, "HTTPS_PROXY": self.proxy}

    def settings(self, **more: str) -> dict[str, str]:
        """What docs/storage.md says for this provider, as `running(home, **settings)` takes it, and the authority to trust."""
        profile = self.profile
        endpoint = {} if profile.name == "aws" else {"STORAGE__BYOS__ENDPOINT": f"{self.scheme}://{profile.host}"}
        trusted = {} if self.scheme == "http" else {"STORAGE__BYOS__CA_BUNDLE": str(self.ca_bundle)}
        return {
            "STORAGE__MODE": "byos",
            "STORAGE__BYOS__REGION": profile.region,
            "STORAGE__BYOS__BUCKET": BUCKET,
            "STORAGE__BYOS__ACCESS_KEY_ID": KEY_ID,
            "STORAGE__BYOS__SECRET_ACCESS_KEY": SECRET,
            **endpoint,
            **trusted,
            **more,
        }

    @property
    def scheme(self) -> str:
        return "http" if self.profile.name == "minio" else "https"

    def configured(self, **more: str) -> Config:
        """The configuration that these settings are, in this process."""
        return load(None, {f"UPLOADKIT_{name}": value for name, value in self.settings(**more).items()})

    def address(self, patched: pytest.MonkeyPatch) -> StoreAddress:
        """The provider's address by its settings, and the environment set in which its name leads here."""
        for name, value in self.surroundings.items():
            patched.setenv(name, value)
        return byos_address(self.configured().storage.byos)

    def browser(self, direct: Any) -> Clients:
        """What sends requests as a client of the provider does: other hosts are asked by `direct`."""
        return Clients(direct, urllib3.ProxyManager(self.proxy, maxsize=64, retries=False, timeout=60, ca_certs=str(self.ca_bundle)))


class Clients:
    """Sends a client's requests: to the provider by the player, and again where it says that this came too soon."""

    def __init__(self, direct: Any, by_player: urllib3.ProxyManager) -> None:
        self._direct, self._by_player = direct, by_player

    def request(self, method: str, url: str, **how: Any) -> urllib3.BaseHTTPResponse:
        if urlsplit(url).hostname in ("127.0.0.1", "localhost"):
            return self._direct.request(method, url, **how)  # type: ignore[no-any-return]
        while (answer := self._by_player.request(method, url, **how)).status == 429:
            time.sleep(0.2)
        return answer

    def clear(self) -> None:
        self._direct.clear()
        self._by_player.clear()


@contextmanager
def on_stage(profile: Profile, store: StoreAddress, home: Path) -> Iterator[Stage]:
    """Play a provider in front of the bucket at `store`."""
    played = Played(profile, store)
    certificate = make_certificate(
        home / f"{profile.name}.pem", profile.host.partition(":")[0], f"{BUCKET}.{profile.host}".partition(":")[0]
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_CONNECT(self) -> None:
            self.send_response_only(200)
            self.end_headers()
            try:
                self.connection = tls.wrap_socket(self.connection, server_side=True)
            except (OSError, ssl.SSLError):  # a client that does not trust us
                self.close_connection = True
                return
            self.rfile = self.connection.makefile("rb", -1)
            self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
            self.close_connection = False

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()
            with contextlib.suppress(OSError):
                self.connection.close()

        def play(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target = self.path
            if target.startswith("http://"):
                parts = urlsplit(target)
                target = parts.path + (f"?{parts.query}" if parts.query else "")
            headers = {name.lower(): value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            answered = played.answer(self.command, self.headers["Host"], target, headers, body)
            self.send_response_only(answered.status)
            size = answered.headers.pop("Content-Length", str(len(answered.body)))
            for name, value in answered.headers.items():
                self.send_header(name, value)
            if answered.status != 204:
                self.send_header("Content-Length", size)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answered.body)
            if answered.rest is not None:
                while some := answered.rest.read(256 * 1024):
                    self.wfile.write(some)
                answered.rest.close()

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                super().handle_one_request()
                return
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = play  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Stage(played, f"http://127.0.0.1:{server.server_port}", certificate)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
