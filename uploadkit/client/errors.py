"""What can go wrong, told by class and stable `code`. Refuses to quote API keys, presigned URLs or the answers of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UploadKitClientError(Exception):
    """Anything that went wrong, with a stable `code`, a `message` and, where known, a `suggestion` of what to do.

    `transient` says whether the same call may succeed later; the client has then already tried for `retry_seconds`.
    """

    code = "CLIENT_ERROR"

    def __init__(self, message: str, suggestion: str | None = None, *, code: str | None = None, transient: bool = False) -> None:
        self.code = code or self.code
        self.message, self.suggestion, self.transient = message, suggestion, transient
        self.retry_after_seconds = 0.0
        super().__init__(f"{self.code}: {message}" + (f" ({suggestion})" if suggestion else ""))


class UploadKitApiError(UploadKitClientError):
    """The API answered with an error: its HTTP `status`, `code`, `message`, `suggestion`, `details` (by field) and `request_id`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        suggestion: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, suggestion, code=code, transient=_may_pass(status) or code == "IDEMPOTENCY_CONFLICT")
        self.status, self.details, self.request_id = status, details, request_id


class UploadKitStorageError(UploadKitClientError):
    """The object store refused the bytes: its HTTP `status`; `code` is the store's own, such as `AccessDenied`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        suggestion = "See what /readyz of the appliance says, and that the way to the store keeps the Host header"
        super().__init__(message, suggestion, code=code, transient=_may_pass(status) or code == "RequestTimeout")
        self.status = status
        self.url_may_be_stale = status in (400, 403, 404) and not self.transient


class UploadKitConnectionError(UploadKitClientError):
    """The API or the store could not be reached, did not answer in time, or dropped the connection."""

    code = "CONNECTION_FAILED"

    def __init__(self, message: str, suggestion: str | None = None, *, transient: bool = True, ever_reached: bool = True) -> None:
        super().__init__(message, suggestion, transient=transient)
        self.ever_reached = ever_reached


class UploadKitFileError(UploadKitClientError):
    """The local file can't be uploaded: not there, unreadable, empty, not a regular file, in use, or changed meanwhile."""

    code = "INVALID_FILE"


class UploadKitWebhookError(UploadKitClientError):
    """What came as a webhook can't be shown to be from the appliance. Answer it with 401 and do nothing."""

    code = "INVALID_SIGNATURE"


def _may_pass(status: int) -> bool:
    return status in (408, 429) or (status >= 500 and status != 501)


def not_this_api(status: int) -> UploadKitApiError:
    """Return the error for an answer (HTTP `status`) that the UploadKit API would not give."""
    message = f"the answer (HTTP {status}) is not one of the UploadKit API"
    return UploadKitApiError(status, "UNEXPECTED_ANSWER", message, "Check the base URL, and what stands between here and the appliance")
