"""The cloud-SDK API's words for failures: pure, for every one there is."""

from __future__ import annotations

import pytest

from tests.support.error_codes import CODES
from uploadkit.core.errors import UploadKitError, ValidationFailed
from uploadkit.schemas import sdk
from uploadkit.schemas.base import rendered

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
    answer, status = sdk.error(kind("what happened"))
    assert (answer.error.code, status) == RENAMED.get(code, (code, kind.status))
    expected = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request" if status < 500 else "api_error")
    assert answer.error.type == expected
    assert answer.error.message == "what happened"


def test_details_and_suggestion_are_there() -> None:
    answer, _ = sdk.error(ValidationFailed("no", "do", details={"fileName": ["is required"]}))
    assert list(rendered(answer)["error"].items()) == [
        ("code", "VALIDATION_ERROR"),
        ("message", "no"),
        ("suggestion", "do"),
        ("details", {"fileName": ["is required"]}),
        ("type", "invalid_request"),
    ]
    answer, _ = sdk.error(ValidationFailed("no"))
    assert list(rendered(answer)["error"]) == ["code", "message", "type"], "what is not said is not there"
