"""`/upload/…`: the upload life cycle."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import Conflict, FileTooSmallForMultipart, IdempotencyConflict, InvalidParts, StorageUnavailable, UploadNotFound
from uploadkit.files import multipart_upload, single_upload
from uploadkit.schemas.errors import BEGINNING, COMPLETING
from uploadkit.schemas.sdk import FileInBothNames
from uploadkit.schemas.uploads import (
    ABORTED,
    Aborted,
    MultipartBody,
    MultipartCompleteBody,
    MultipartObject,
    MultipartPartsBody,
    MultipartStateObject,
    UploadCompleteBody,
    UploadRequestBody,
    UploadSlotObject,
)
from uploadkit.web.api.blueprint import api, file_answer, once, url_of
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.post("/upload/request", **answers(UploadSlotObject, *BEGINNING, *COMPLETING, IdempotencyConflict, body=True))
def request_upload(body: UploadRequestBody) -> Response:
    """Reserve quota for a file and get the URL to PUT it to."""
    slot = once(
        lambda remember: single_upload.request_upload(context(), g.caller, body.to_request(), remember),
        lambda file_id: single_upload.request_again(context(), g.caller, file_id),
    )
    return json_answer(UploadSlotObject.of(slot, url_of(slot.file)))


@api.post("/upload/complete", **answers(FileInBothNames, *COMPLETING, body=True))
def complete_upload(body: UploadCompleteBody) -> Response:
    """Say that the PUT is done: the file is verified and becomes readable."""
    file = single_upload.complete_upload(context(), g.caller, body.file_id, body.metadata or {})
    return file_answer(file)


@api.post(
    "/upload/multipart/init",
    **answers(MultipartObject, FileTooSmallForMultipart, *BEGINNING, *COMPLETING, IdempotencyConflict, body=True),
)
def start_multipart(body: UploadRequestBody) -> Response:
    """Begin an upload in parts, for files over 10 MiB."""
    slot = once(
        lambda remember: multipart_upload.start_multipart(context(), g.caller, body.to_request(), remember),
        lambda file_id: multipart_upload.start_multipart_again(context(), g.caller, file_id),
    )
    return json_answer(MultipartObject.of(slot))


@api.post("/upload/multipart/parts", **answers(MultipartStateObject, *COMPLETING, InvalidParts, body=True))
def resume_multipart(body: MultipartPartsBody) -> Response:
    """Learn which parts have arrived and get fresh URLs for the rest."""
    slot = multipart_upload.resume_multipart(context(), g.caller, body.file_id, body.upload_id, body.part_numbers)
    return json_answer(MultipartStateObject.of(slot))


@api.post("/upload/multipart/complete", **answers(FileInBothNames, *COMPLETING, InvalidParts, body=True))
def complete_multipart(body: MultipartCompleteBody) -> Response:
    """Put the parts together: the file is verified and becomes readable."""
    file = multipart_upload.complete_multipart(context(), g.caller, body.file_id, body.upload_id, body.to_parts(), body.metadata or {})
    return file_answer(file)


@api.post("/upload/multipart/abort", **answers(Aborted, UploadNotFound, Conflict, StorageUnavailable, body=True))
def abort_multipart(body: MultipartBody) -> Response:
    """End an upload in parts and free its quota."""
    multipart_upload.abort_multipart(context(), g.caller, body.file_id, body.upload_id)
    return json_answer(ABORTED)
