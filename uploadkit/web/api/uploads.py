"""`/upload/…`: the upload life cycle."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import (
    Conflict,
    FileTooLarge,
    FileTooSmallForMultipart,
    FileTypeNotAllowed,
    IdempotencyConflict,
    InvalidParts,
    NotFound,
    StorageUnavailable,
    TierLimitExceeded,
    UploadExpired,
    UploadNotFound,
    UploadNotVerified,
)
from uploadkit.files import multipart_upload, single_upload
from uploadkit.schemas import base as schemas
from uploadkit.schemas import files as shapes
from uploadkit.schemas import sdk as shapes_sdk
from uploadkit.schemas import uploads as documented
from uploadkit.web.api.blueprint import api, file_answer, once, url_of
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.post(
    "/upload/request",
    **answers(
        shapes.UploadSlotObject,
        FileTooLarge,
        FileTypeNotAllowed,
        NotFound,
        UploadNotFound,
        UploadNotVerified,
        UploadExpired,
        Conflict,
        IdempotencyConflict,
        StorageUnavailable,
        TierLimitExceeded,
        body=True,
    ),
)
def request_upload(body: schemas.UploadRequestBody) -> Response:
    """Reserve quota for a file and get the URL to PUT it to."""
    slot = once(
        lambda remember: single_upload.request_upload(context(), g.caller, body.to_request(), remember),
        lambda file_id: single_upload.request_again(context(), g.caller, file_id),
    )
    return json_answer(documented.upload_requested(slot, url_of))


@api.post(
    "/upload/complete",
    **answers(
        shapes_sdk.FileInBothNames,
        FileTypeNotAllowed,
        UploadNotFound,
        UploadNotVerified,
        UploadExpired,
        Conflict,
        StorageUnavailable,
        body=True,
    ),
)
def complete_upload(body: schemas.UploadCompleteBody) -> Response:
    """Say that the PUT is done: the file is verified and becomes readable."""
    file = single_upload.complete_upload(context(), g.caller, body.file_id, body.metadata or {})
    return file_answer(file)


@api.post(
    "/upload/multipart/init",
    **answers(
        shapes.MultipartObject,
        FileTooSmallForMultipart,
        FileTooLarge,
        FileTypeNotAllowed,
        NotFound,
        UploadNotFound,
        UploadNotVerified,
        UploadExpired,
        Conflict,
        IdempotencyConflict,
        StorageUnavailable,
        TierLimitExceeded,
        body=True,
    ),
)
def start_multipart(body: schemas.UploadRequestBody) -> Response:
    """Begin an upload in parts, for files over 10 MiB."""
    slot = once(
        lambda remember: multipart_upload.start_multipart(context(), g.caller, body.to_request(), remember),
        lambda file_id: multipart_upload.start_multipart_again(context(), g.caller, file_id),
    )
    return json_answer(documented.multipart_started(slot))


@api.post(
    "/upload/multipart/parts",
    **answers(
        shapes.MultipartStateObject,
        FileTypeNotAllowed,
        UploadNotFound,
        UploadNotVerified,
        UploadExpired,
        InvalidParts,
        Conflict,
        StorageUnavailable,
        body=True,
    ),
)
def resume_multipart(body: schemas.MultipartPartsBody) -> Response:
    """Learn which parts have arrived and get fresh URLs for the rest."""
    slot = multipart_upload.resume_multipart(context(), g.caller, body.file_id, body.upload_id, body.part_numbers)
    return json_answer(documented.multipart_resumed(slot))


@api.post(
    "/upload/multipart/complete",
    **answers(
        shapes_sdk.FileInBothNames,
        FileTypeNotAllowed,
        UploadNotFound,
        UploadNotVerified,
        UploadExpired,
        InvalidParts,
        Conflict,
        StorageUnavailable,
        body=True,
    ),
)
def complete_multipart(body: schemas.MultipartCompleteBody) -> Response:
    """Put the parts together: the file is verified and becomes readable."""
    file = multipart_upload.complete_multipart(context(), g.caller, body.file_id, body.upload_id, body.to_parts(), body.metadata or {})
    return file_answer(file)


@api.post("/upload/multipart/abort", **answers(shapes.Aborted, UploadNotFound, Conflict, StorageUnavailable, body=True))
def abort_multipart(body: schemas.MultipartBody) -> Response:
    """End an upload in parts and free its quota."""
    multipart_upload.abort_multipart(context(), g.caller, body.file_id, body.upload_id)
    return json_answer({"aborted": True})
