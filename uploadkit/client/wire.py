"""Requests and answers: the API key, timeouts, retries, and what an answer means. Refuses redirects. Shared within uploadkit.client."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3

from uploadkit.client.answers import Answer, is_sound, read
from uploadkit.client.errors import UploadKitApiError, UploadKitClientError, UploadKitConnectionError, UploadKitStorageError, not_this_api
from uploadkit.client.proxies import Pools, printable_proxy

_CONNECT_TIMEOUT_SECONDS = 10.0
_SEND_TIMEOUT_SECONDS = 30.0  # urllib3 knows one timeout for connecting and sending
_FIRST_CONTACT_SECONDS = 2.0  # a host that never answered is more likely a wrong address than a restart
_LONGEST_PAUSE_SECONDS = 15.0
_TUNNEL = "Tunnel connection failed"  # so Python's http.client begins, when a proxy refuses CONNECT

Result = TypeVar("Result")
RetryCallback = Callable[[UploadKitClientError], None]


class Stopped(Exception):
    """Another thread failed or the user pressed Ctrl-C: this thread ends without a word."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The way to one appliance and its store. Copies made by `dataclasses.replace` share its connections.

    `on_retry` is called, in the thread that waits, of every failure that will be tried again.
    """

    base_url: str
    api_key: str = field(repr=False)
    timeout_seconds: float
    retry_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # for the appliance alone
    on_retry: RetryCallback | None = None
    pools: Pools = field(default_factory=Pools, repr=False)
    reached_origins: set[str] = field(default_factory=set)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Like `call_once`, and again after transient failures."""
        return self.retrying(lambda: self.call_once(method, path, body, **options))

    def call_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        timeout_seconds: float | None = None,
        required: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return the API's answer, a JSON object that has the `required` fields."""
        headers = {"User-Agent": "uploadkit-python", **self.headers, "x-api-key": self.api_key, "Accept": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        response = self._exchange(method, self.base_url + path, headers, content, timeout_seconds or self.timeout_seconds)
        answer = response.json()
        if 200 <= response.status < 300 and isinstance(answer, dict) and all(name in answer for name in required) and is_sound(answer):
            return answer
        raise _api_error(response, answer)

    def put(self, url: str, blocks: Iterator[bytes], length: int, headers: Mapping[str, str]) -> str | None:
        """Stream `blocks`, `length` bytes in all, to a presigned URL; return the ETag. The API key is not for the store."""
        sent_headers = urllib3.HTTPHeaderDict(headers)
        sent_headers["Content-Length"] = str(length)  # signed: without it urllib3 would send chunks
        response = self._exchange("PUT", url, sent_headers, blocks, self.timeout_seconds, _SEND_TIMEOUT_SECONDS)
        if not 200 <= response.status < 300:
            raise _storage_error(response, _origin(url))
        return response.headers.get("ETag")

    def retrying(self, attempt: Callable[[], Result], stopped: threading.Event | None = None) -> Result:
        """Return what `attempt` returns; try again after transient failures, with growing, random pauses and never for ever."""
        stopped = stopped or threading.Event()
        tries, waited_seconds = 0, 0.0
        while True:
            try:
                return attempt()
            except UploadKitClientError as error:
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 (no secret: it keeps clients from coming back all at once)
                pause = max(error.retry_after_seconds, min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**tries) * jitter)
                ever_reached = not isinstance(error, UploadKitConnectionError) or error.ever_reached
                budget = self.retry_seconds if ever_reached else min(self.retry_seconds, _FIRST_CONTACT_SECONDS)
                if not error.transient or waited_seconds + pause > budget:
                    raise
                if self.on_retry and not stopped.is_set():
                    self.on_retry(error)
            tries, waited_seconds = tries + 1, waited_seconds + pause
            if stopped.wait(pause):
                raise Stopped

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] | None,
        timeout_seconds: float,
        connect_seconds: float = _CONNECT_TIMEOUT_SECONDS,
    ) -> Answer:
        origin = _origin(url)
        timeout = urllib3.Timeout(connect=min(timeout_seconds, connect_seconds), read=timeout_seconds)
        try:
            pool = self.pools.for_url(url)
            begun = pool.urlopen(
                method, url, headers=headers, body=body, timeout=timeout, retries=False, redirect=False, preload_content=False
            )
            response = read(begun, timeout_seconds)
        except urllib3.exceptions.HTTPError as error:
            proxy = printable_proxy(url)
            if f"{_TUNNEL}: 407" in str(error):
                raise _unknown_to_proxy(origin, proxy) from None
            raise UploadKitConnectionError(
                f"{origin}{f' by the proxy {proxy}' if proxy else ''}: {_reason(error)}",
                "Check that the appliance runs there and that this machine can reach it"
                + (f"; {proxy} is what HTTPS_PROXY or its like names, and NO_PROXY could name the exception" if proxy else ""),
                transient=not isinstance(error, urllib3.exceptions.SSLError | urllib3.exceptions.LocationValueError),
                ever_reached=origin in self.reached_origins,
            ) from error
        if response.status == 407:
            raise _unknown_to_proxy(origin, printable_proxy(url))
        self.reached_origins.add(origin)
        return response


def _unknown_to_proxy(origin: str, proxy: str | None) -> UploadKitConnectionError:
    suggestion = "Set HTTPS_PROXY, or what else names it, to http://name:password@host:port; percent-encode what is special in them"
    return UploadKitConnectionError(f"{origin} by the proxy {proxy}: it wants a name and password", suggestion, transient=False)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"TLS failed: {error}"
    if isinstance(error, urllib3.exceptions.ProxyError):
        reason = str(error.original_error)
        if reason.startswith(_TUNNEL):
            return f"it answers {reason.partition(': ')[2]}"
        return f"it can't be reached, {_reason(error.original_error)}"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "this host name is not known"
    causes: list[object] = [error.__cause__, error.__context__, *error.args]
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError)
    if any(isinstance(cause, timeouts) and not isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in (error, *causes)):
        return "no answer in time"
    return next((cause.strerror.lower() for cause in causes if isinstance(cause, OSError) and cause.strerror), "the connection was lost")


def _api_error(response: Answer, answer: Any) -> UploadKitApiError:
    status, failure = response.status, answer.get("error") if isinstance(answer, dict) else None
    if isinstance(failure, dict) and isinstance(failure.get("code"), str):
        request_id = response.headers.get("X-Request-Id")
        suggestion, details = failure.get("suggestion"), failure.get("details")
        error = UploadKitApiError(
            status,
            failure["code"],
            str(failure.get("message", "")),
            None if suggestion is None else str(suggestion),
            details if isinstance(details, dict) else None,
            request_id,
        )
    elif 300 <= status < 400:
        target = _origin(response.headers.get("Location", "")) or "nowhere"
        message = f"the address redirects (HTTP {status}) to {target}; the API key is not sent there"
        error = UploadKitApiError(status, "UNEXPECTED_REDIRECT", message, "Use the final address as the base URL")
    else:
        error = not_this_api(status)
    error.retry_after_seconds = response.retry_after_seconds()
    error.transient = error.transient or (status == 409 and error.retry_after_seconds > 0)
    return error


def _storage_error(response: Answer, origin: str) -> UploadKitStorageError:
    # Only the code: the rest of a store's answer may quote access key ids and signatures.
    _, _, rest = response.content.decode("utf-8", "replace").partition("<Code>")
    code = rest.partition("</Code>")[0]
    code = code if code.isalnum() and len(code) <= 64 else f"HTTP_{response.status}"
    error = UploadKitStorageError(response.status, code, f"the store at {origin} refused the bytes (HTTP {response.status})")
    error.retry_after_seconds = response.retry_after_seconds()
    return error
