"""The cloud-SDK surface, `/sdk/api/v1`: what the official JavaScript packages call. The same services as `/api/v1`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from flask import Response, g, request
from flask_openapi3.blueprint import APIBlueprint

from uploadkit.auth import callers
from uploadkit.core.errors import (
    Conflict,
    FileTooSmallForMultipart,
    InvalidParts,
    NotFound,
    NotImplementedHere,
    StorageUnavailable,
    UploadKitError,
    UploadNotVerified,
)
from uploadkit.db.models import File
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.service import FileFilter
from uploadkit.schemas import sdk
from uploadkit.schemas.errors import BEGINNING, COMPLETING
from uploadkit.schemas.files import DeleteFilesBody, DeletionObject, FilePath, MetadataBody
from uploadkit.schemas.sdk import (
    DONE,
    Done,
    SdkFileAnswer,
    SdkFilePage,
    SdkListQuery,
    SdkMultipart,
    SdkNothingDeleted,
    SdkProjectAnswer,
    SdkUploadSlot,
)
from uploadkit.schemas.uploads import AnyTypeUploadRequestBody, MultipartBody, MultipartCompleteBody, UploadCompleteBody
from uploadkit.web import authentication, openapi
from uploadkit.web.api.blueprint import url_of
from uploadkit.web.requests import context, json_answer, rate_limits

cloud_sdk = APIBlueprint(
    "sdk", __name__, url_prefix="/sdk/api/v1", abp_security=[{"bearer": []}], operation_id_callback=openapi.operation_id
)
answers = partial(openapi.answers, error_of=sdk.error)

_deletion: dict[str, Any] = answers(DeletionObject, body=True)
_deletion["responses"] |= {207: DeletionObject, 404: SdkNothingDeleted}


@cloud_sdk.before_request
def _authenticate() -> None:
    authentication.authenticate(request, context().config, rate_limits())


def _file_answer(file: File) -> Response:
    return json_answer(SdkFileAnswer.of(file, url_of(file)))


@cloud_sdk.post("/upload/request", **answers(SdkUploadSlot, *BEGINNING, body=True))
def request_upload(body: AnyTypeUploadRequestBody) -> Response:
    """Reserve quota for a file and get the URL to PUT it to."""
    slot = single_upload.request_upload(context(), g.caller, body.to_request())
    return json_answer(SdkUploadSlot.of(slot, url_of(slot.file)))


@cloud_sdk.post("/upload/complete", **answers(SdkFileAnswer, *COMPLETING, body=True))
def complete_upload(body: UploadCompleteBody) -> Response:
    """Say that the PUT is done: the file is verified and becomes readable."""
    return _file_answer(single_upload.complete_upload(context(), g.caller, body.file_id, body.metadata or {}))


@cloud_sdk.post(
    "/upload/multipart/init",
    **answers(SdkMultipart, *BEGINNING, FileTooSmallForMultipart, UploadNotVerified, body=True),
)
def start_multipart(body: AnyTypeUploadRequestBody) -> Response:
    """Begin an upload in parts of 5 MiB, for files over 10 MiB."""
    slot = multipart_upload.start_multipart(context(), g.caller, body.to_request(), part_size_bytes=multipart_upload.SMALLEST_PART_BYTES)
    return json_answer(SdkMultipart.of(slot))


@cloud_sdk.post("/upload/multipart/complete", **answers(SdkFileAnswer, *COMPLETING, InvalidParts, body=True))
def complete_multipart(body: MultipartCompleteBody) -> Response:
    """Put the parts together: the file is verified and becomes readable."""
    file = multipart_upload.complete_multipart(context(), g.caller, body.file_id, body.upload_id, body.to_parts(), body.metadata or {})
    return _file_answer(file)


@cloud_sdk.post("/upload/multipart/abort", **answers(Done, body=True))
def abort_multipart(body: MultipartBody) -> Response:
    """End an upload in parts. The packages call this after any failure, also when only an answer was lost: a complete file stays."""
    with suppress(UploadKitError):
        multipart_upload.abort_multipart(context(), g.caller, body.file_id, body.upload_id)
    return json_answer(DONE)


@cloud_sdk.get("/files", **answers(SdkFilePage))
def list_files(query: SdkListQuery) -> Response:
    """List files, newest first. The cursor is `nextCursor` of the page before, or the id of its last file."""
    cursor = None if query.cursor is None else files.cursor_after(g.caller, query.cursor)
    return json_answer(SdkFilePage.of(files.list_files(g.caller, FileFilter(), query.limit, cursor), url_of))


@cloud_sdk.delete("/files", **_deletion)
def delete_files(body: DeleteFilesBody) -> Response:
    """Delete up to 100 files; each one whatever becomes of the others."""
    return json_answer(*sdk.deletion(files.delete_files(context(), g.caller, body.keys)))


@cloud_sdk.get("/files/<path:key>", **answers(SdkFileAnswer, NotFound))
def get_file(path: FilePath) -> Response:
    """Get one file by its key."""
    return _file_answer(files.find_file(g.caller, path.key))


@cloud_sdk.patch("/files/<path:key>", **answers(SdkFileAnswer, NotFound, body=True))
def update_file(path: FilePath, body: MetadataBody) -> Response:
    """Replace the metadata of a file."""
    return _file_answer(files.replace_metadata(g.caller, path.key, body.metadata))


@cloud_sdk.delete("/files/<path:key>", **answers(Done, NotFound, Conflict, StorageUnavailable))
def delete_file(path: FilePath) -> Response:
    """Delete a file; an upload under way is aborted."""
    files.delete_file(context(), g.caller, path.key)
    return json_answer(DONE)


@cloud_sdk.get("/projects/me", **answers(SdkProjectAnswer))
def get_own_project() -> Response:
    """Get the project that the API key belongs to."""
    return json_answer(SdkProjectAnswer.of(callers.find_project(g.caller, g.caller.project_id)))


@cloud_sdk.post("/transforms/image", doc_ui=False)
def transform_image() -> Response:
    """Refuse what the cloud has and this appliance has not."""
    raise NotImplementedHere("Images are not transformed by this appliance")
