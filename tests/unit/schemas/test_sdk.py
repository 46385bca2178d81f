"""The cloud-SDK door's words for failures: pure, for every one there is."""

from __future__ import annotations

import pytest

from tests.support.error_codes import CODES
from uploadkit.core.errors import UploadKitError, ValidationFailed
from uploadkit.schemas import sdk_rendering

RENAMED = {
    "FILE_TYPE_NOT_ALLOWED": ("INVALID_FILE_TYPE", 400),
    "FILE_TOO_LARGE": ("TIER_LIMIT_EXCEEDED", 403),
    "UPLOAD_NOT_VERIFIED": ("FILE_NOT_IN_STORAGE", 422),
    "UPLOAD_NOT_FOUND": ("NOT_FOUND", 404),
    "INTERNAL_SERVER_ERROR": ("INTERNAL_ERROR", 500),
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_failure(code: str) -> None:
    kind: type[UploadKitError] = CODES[code]
    body, status = sdk_rendering.error(kind("what happened"))
    assert (body["error"]["code"], status) == RENAMED.get(code, (code, kind.status))
    expected = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request" if status < 500 else "api_error")
    assert body["error"]["type"] == expected
    assert body["error"]["message"] == "what happened"


def test_details_and_suggestion_are_there() -> None:
    body, _ = sdk_rendering.error(ValidationFailed("no", "do", details={"fileName": ["is required"]}))
    assert (body["error"]["suggestion"], body["error"]["details"]) == ("do", {"fileName": ["is required"]})
