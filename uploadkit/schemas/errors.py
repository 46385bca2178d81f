"""The shape of every failure, and the failures that several endpoints have in common."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from uploadkit.core.errors import (
    Conflict,
    FileTooLarge,
    FileTypeNotAllowed,
    NotFound,
    StorageUnavailable,
    TierLimitExceeded,
    UploadExpired,
    UploadKitError,
    UploadNotFound,
    UploadNotVerified,
    ValidationFailed,
)
from uploadkit.schemas.base import Answer, Json

BEGINNING = (FileTooLarge, FileTypeNotAllowed, NotFound, StorageUnavailable, TierLimitExceeded)
"""What can go wrong when an upload begins."""
COMPLETING = (FileTypeNotAllowed, UploadNotFound, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable)
"""What can go wrong when an upload is completed, or another request did that at the same time."""
INVALID = ValidationFailed("fileName is required", details={"fileName": ["is required"]})
"""An example of a body that is not taken."""


class ErrorBody(Answer):
    """What went wrong, and what to do about it."""

    code: Annotated[str, Field(description="stable, for programs", examples=["FILE_TOO_LARGE"])]
    message: Annotated[str, Field(examples=["File size 6291456 bytes exceeds the 4194304 byte limit"])]
    suggestion: Annotated[str, Field(description="what a developer can do on this appliance")] = ""
    details: Annotated[dict[str, list[str]], Field(description="VALIDATION_ERROR: messages by field")] = Field({})

    @classmethod
    def of(cls, failure: UploadKitError, code: str | None = None) -> Self:
        """Return what a failure says of itself; `code` stands for its own where a surface has another."""
        return cls(code=code or failure.code, message=failure.message, **advice(failure))


class ErrorAnswer(Answer):
    """The shape of every failure."""

    error: ErrorBody

    @classmethod
    def of(cls, failure: UploadKitError, code: str | None = None) -> Self:
        """Return the answer that tells of a failure."""
        return cls(error=ErrorBody.of(failure, code))


def error(failure: UploadKitError) -> tuple[ErrorAnswer, int]:
    """Return the answer that tells of a failure, and its HTTP status."""
    return ErrorAnswer.of(failure), failure.status


def advice(failure: UploadKitError) -> Json:
    """Return the fields of an error that are there only where there is something to say."""
    found: Json = {}
    if failure.suggestion:
        found["suggestion"] = failure.suggestion
    if failure.details:
        found["details"] = {name: list(messages) for name, messages in failure.details.items()}
    return found
