"""The cloud-SDK door, `/sdk/api/v1`: what the official JavaScript packages call. The same services as `/api/v1`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from flask import Response, g, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import Field

from uploadkit.auth import callers
from uploadkit.core.errors import (
    Conflict,
    FileTooLarge,
    FileTooSmallForMultipart,
    FileTypeNotAllowed,
    InvalidParts,
    NotFound,
    NotImplementedHere,
    StorageUnavailable,
    TierLimitExceeded,
    UploadExpired,
    UploadKitError,
    UploadNotFound,
    UploadNotVerified,
)
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.service import FileFilter
from uploadkit.schemas import base as schemas
from uploadkit.schemas import files as shapes
from uploadkit.schemas import sdk as shapes_sdk
from uploadkit.schemas import sdk_rendering
from uploadkit.schemas import uploads as documented
from uploadkit.web import authentication, openapi
from uploadkit.web.api.blueprint import url_of
from uploadkit.web.requests import context, json_answer, rate_limits

cloud_sdk = APIBlueprint(
    "sdk", __name__, url_prefix="/sdk/api/v1", abp_security=[{"bearer": []}], operation_id_callback=openapi.operation_id
)
answers = partial(openapi.answers, render=sdk_rendering.error, error_shape=shapes_sdk.SdkErrorAnswer)

_deletion: dict[str, Any] = answers(shapes.Deletion, body=True)
_deletion["responses"] |= {207: shapes.Deletion, 404: shapes_sdk.SdkNothingDeleted}
_BEGINNING = (FileTooLarge, FileTypeNotAllowed, NotFound, StorageUnavailable, TierLimitExceeded)
_COMPLETING = (FileTypeNotAllowed, UploadNotFound, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable)


class FileListQuery(schemas.PageQuery):
    """Query of `GET /files`."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50


@cloud_sdk.before_request
def _authenticate() -> None:
    authentication.authenticate(request, context().config, rate_limits())


@cloud_sdk.post("/upload/request", **answers(shapes_sdk.SdkUploadSlot, *_BEGINNING, body=True))
def request_upload(body: schemas.AnyTypeUploadRequestBody) -> Response:
    """Reserve quota for a file and get the URL to PUT it to."""
    return json_answer(sdk_rendering.upload_requested(single_upload.request_upload(context(), g.caller, body.to_request()), url_of))


@cloud_sdk.post("/upload/complete", **answers(shapes_sdk.SdkFileAnswer, *_COMPLETING, body=True))
def complete_upload(body: schemas.UploadCompleteBody) -> Response:
    """Say that the PUT is done: the file is verified and becomes readable."""
    return json_answer(
        sdk_rendering.one_file(single_upload.complete_upload(context(), g.caller, body.file_id, body.metadata or {}), url_of)
    )


@cloud_sdk.post(
    "/upload/multipart/init",
    **answers(shapes_sdk.SdkMultipart, *_BEGINNING, FileTooSmallForMultipart, UploadNotVerified, body=True),
)
def start_multipart(body: schemas.AnyTypeUploadRequestBody) -> Response:
    """Begin an upload in parts of 5 MiB, for files over 10 MiB."""
    slot = multipart_upload.start_multipart(context(), g.caller, body.to_request(), part_size_bytes=multipart_upload.SMALLEST_PART_BYTES)
    return json_answer(sdk_rendering.multipart_started(slot))


@cloud_sdk.post("/upload/multipart/complete", **answers(shapes_sdk.SdkFileAnswer, *_COMPLETING, InvalidParts, body=True))
def complete_multipart(body: schemas.MultipartCompleteBody) -> Response:
    """Put the parts together: the file is verified and becomes readable."""
    file = multipart_upload.complete_multipart(context(), g.caller, body.file_id, body.upload_id, body.to_parts(), body.metadata or {})
    return json_answer(sdk_rendering.one_file(file, url_of))


@cloud_sdk.post("/upload/multipart/abort", **answers(shapes_sdk.Done, body=True))
def abort_multipart(body: schemas.MultipartBody) -> Response:
    """End an upload in parts. The packages call this after any failure, also when only an answer was lost: a complete file stays."""
    with suppress(UploadKitError):
        multipart_upload.abort_multipart(context(), g.caller, body.file_id, body.upload_id)
    return json_answer({"ok": True})


@cloud_sdk.get("/files", **answers(shapes_sdk.SdkFilePage))
def list_files(query: FileListQuery) -> Response:
    """List files, newest first. The cursor is `nextCursor` of the page before, or the id of its last file."""
    cursor = None if query.cursor is None else files.cursor_after(g.caller, query.cursor)
    return json_answer(sdk_rendering.file_page(files.list_files(g.caller, FileFilter(), query.limit, cursor), url_of))


@cloud_sdk.delete("/files", **_deletion)
def delete_files(body: schemas.DeleteFilesBody) -> Response:
    """Delete up to 100 files; each one whatever becomes of the others."""
    done = files.delete_files(context(), g.caller, body.keys)
    return json_answer(sdk_rendering.deletion(done), documented.deletion_status(done))


@cloud_sdk.get("/files/<path:key>", **answers(shapes_sdk.SdkFileAnswer, NotFound))
def get_file(path: schemas.FilePath) -> Response:
    """Get one file by its key."""
    return json_answer(sdk_rendering.one_file(files.find_file(g.caller, path.key), url_of))


@cloud_sdk.patch("/files/<path:key>", **answers(shapes_sdk.SdkFileAnswer, NotFound, body=True))
def update_file(path: schemas.FilePath, body: schemas.MetadataBody) -> Response:
    """Replace the metadata of a file."""
    return json_answer(sdk_rendering.one_file(files.replace_metadata(g.caller, path.key, body.metadata), url_of))


@cloud_sdk.delete("/files/<path:key>", **answers(shapes_sdk.Done, NotFound, Conflict, StorageUnavailable))
def delete_file(path: schemas.FilePath) -> Response:
    """Delete a file; an upload under way is aborted."""
    files.delete_file(context(), g.caller, path.key)
    return json_answer({"ok": True})


@cloud_sdk.get("/projects/me", **answers(shapes_sdk.SdkProjectAnswer))
def get_own_project() -> Response:
    """Get the project that the API key belongs to."""
    return json_answer(sdk_rendering.own_project(callers.find_project(g.caller, g.caller.project_id)))


@cloud_sdk.post("/transforms/image", doc_ui=False)
def transform_image() -> Response:
    """Refuse what the cloud has and this appliance has not."""
    raise NotImplementedHere("Images are not transformed by this appliance")
