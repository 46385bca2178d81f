"""Every failure a caller can be told about, in the words of api.md section 3.

An error carries what happened and what to do about it. It knows no wire format: each door in `web/` renders it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class UploadKitError(Exception):
    """A failure with a stable `code`, the HTTP `status` it maps to, a `message` and, where a reader can act, a `suggestion`.

    `details` maps field names to messages (validation); `retry_after_seconds` says when trying again makes sense.
    """

    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"
    status: ClassVar[int] = 500
    default_suggestion: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        suggestion: str | None = None,
        *,
        details: Mapping[str, Sequence[str]] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion or self.default_suggestion
        self.details = details
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(UploadKitError):
    code, status = "UNAUTHORIZED", 401
    default_suggestion = (
        "Send a live API key in the x-api-key header; 'python app.py keys create' makes one, 'keys list' shows which are revoked"
    )


class Forbidden(UploadKitError):
    code, status = "FORBIDDEN", 403


class HttpsRequired(UploadKitError):
    code, status = "HTTPS_REQUIRED", 403
    default_suggestion = (
        "Call the https:// address. Behind a TLS proxy, add its address to server.trusted_proxies; on a LAN without TLS, "
        'set server.require_https = "off". If this key went over a network in the clear, revoke it'
    )


class ValidationFailed(UploadKitError):
    code, status = "VALIDATION_ERROR", 400


class UnsupportedMediaType(UploadKitError):
    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    default_suggestion = "Send the body as JSON with the header Content-Type: application/json"


class PayloadTooLarge(UploadKitError):
    code, status = "PAYLOAD_TOO_LARGE", 413
    default_suggestion = "Send less, or raise server.max_body_bytes. The bytes of a file go to uploadUrl, not to this API"


class HeadersTooLarge(UploadKitError):
    code, status = "HEADERS_TOO_LARGE", 431
    default_suggestion = "Send fewer or shorter request headers"


class MethodNotAllowed(UploadKitError):
    code, status = "METHOD_NOT_ALLOWED", 405


class FileTooLarge(UploadKitError):
    code, status = "FILE_TOO_LARGE", 413


class FileTypeNotAllowed(UploadKitError):
    code, status = "FILE_TYPE_NOT_ALLOWED", 415


class FileTooSmallForMultipart(UploadKitError):
    code, status = "FILE_TOO_SMALL_FOR_MULTIPART", 400
    default_suggestion = "Use POST /api/v1/upload/request for files of 10 MiB or less"


class UploadNotFound(UploadKitError):
    code, status = "UPLOAD_NOT_FOUND", 404
    default_suggestion = "Start again with POST /api/v1/upload/request"


class UploadNotVerified(UploadKitError):
    code, status = "UPLOAD_NOT_VERIFIED", 422


class UploadExpired(UploadKitError):
    code, status = "UPLOAD_EXPIRED", 410
    default_suggestion = "Start again with POST /api/v1/upload/request; nothing of this upload was kept"


class InvalidParts(UploadKitError):
    code, status = "INVALID_PARTS", 422
    default_suggestion = "POST /api/v1/upload/multipart/parts lists what has arrived and gives fresh URLs for the rest"


class NotFound(UploadKitError):
    code, status = "NOT_FOUND", 404


class DuplicateSlug(UploadKitError):
    code, status = "DUPLICATE_SLUG", 409


class Conflict(UploadKitError):
    code, status = "CONFLICT", 409


class IdempotencyConflict(UploadKitError):
    code, status = "IDEMPOTENCY_CONFLICT", 409


class TierLimitExceeded(UploadKitError):
    code, status = "TIER_LIMIT_EXCEEDED", 403


class RateLimited(UploadKitError):
    code, status = "RATE_LIMITED", 429


class StorageUnavailable(UploadKitError):
    code, status = "STORAGE_UNAVAILABLE", 503
    default_suggestion = "Try again after Retry-After seconds; GET /readyz says what is wrong"

    def __init__(self, message: str, suggestion: str | None = None, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message, suggestion, retry_after_seconds=retry_after_seconds)


class InternalServerError(UploadKitError):
    code, status = "INTERNAL_SERVER_ERROR", 500


class ConfigError(Exception):
    """A configuration that can't be used. `str(error)` is one line that names the key and the mend."""
