"""The documented API, `/api/v1`: each endpoint parses, calls one service function, and renders."""

from __future__ import annotations

from flask import Response, g, request
from flask_openapi3 import APIBlueprint

from uploadkit import files, uploads
from uploadkit.models import File
from uploadkit.web import auth, context, documented, json_answer, schemas

api = APIBlueprint("api", __name__, url_prefix="/api/v1")


@api.before_request
def _authenticate() -> None:
    auth.authenticate(request, context().config.server)


def _url_of(file: File) -> str:
    return files.public_url(context(), file)


@api.post("/upload/request")
def request_upload(body: schemas.UploadRequestBody) -> Response:
    """Reserve quota for a file and get the URL to PUT it to."""
    slot = uploads.request_upload(context(), g.caller, body.to_request())
    return json_answer(documented.upload_requested(slot, _url_of))


@api.post("/upload/complete")
def complete_upload(body: schemas.UploadCompleteBody) -> Response:
    """Say that the PUT is done: the file is verified and becomes readable."""
    file = uploads.complete_upload(context(), g.caller, body.file_id, body.metadata)
    return json_answer(documented.file(file, _url_of))


@api.post("/upload/multipart/init")
def start_multipart(body: schemas.UploadRequestBody) -> Response:
    """Begin an upload in parts, for files over 10 MiB."""
    slot = uploads.start_multipart(context(), g.caller, body.to_request())
    return json_answer(documented.multipart_started(slot))


@api.post("/upload/multipart/parts")
def resume_multipart(body: schemas.MultipartPartsBody) -> Response:
    """Learn which parts have arrived and get fresh URLs for the rest."""
    slot = uploads.resume_multipart(context(), g.caller, body.file_id, body.upload_id, body.part_numbers)
    return json_answer(documented.multipart_resumed(slot))


@api.post("/upload/multipart/complete")
def complete_multipart(body: schemas.MultipartCompleteBody) -> Response:
    """Put the parts together: the file is verified and becomes readable."""
    file = uploads.complete_multipart(context(), g.caller, body.file_id, body.upload_id, body.to_parts(), body.metadata)
    return json_answer(documented.file(file, _url_of))


@api.post("/upload/multipart/abort")
def abort_multipart(body: schemas.MultipartBody) -> Response:
    """End an upload in parts and free its quota."""
    uploads.abort_multipart(context(), g.caller, body.file_id, body.upload_id)
    return json_answer({"aborted": True})


@api.get("/files")
def list_files(query: schemas.FileListQuery) -> Response:
    """List files, newest first."""
    page = files.list_files(g.caller, query.to_filter(), query.limit, query.cursor)
    return json_answer(documented.file_page(page, _url_of))


@api.get("/files/by-id/<fileId>")
def get_file_by_id(path: schemas.FileIdPath) -> Response:
    """Get one file by its id."""
    return json_answer(documented.file(files.find_file_by_id(g.caller, path.file_id), _url_of))


@api.get("/files/<path:key>")
def get_file(path: schemas.FilePath) -> Response:
    """Get one file by its key."""
    return json_answer(documented.file(files.find_file(g.caller, path.key), _url_of))


@api.patch("/files/<path:key>")
def update_file(path: schemas.FilePath, body: schemas.MetadataBody) -> Response:
    """Merge metadata into a file."""
    return json_answer(documented.file(files.merge_metadata(g.caller, path.key, body.metadata), _url_of))


@api.delete("/files/<path:key>")
def delete_file(path: schemas.FilePath) -> Response:
    """Delete a file; an upload under way is aborted."""
    files.delete_file(context(), g.caller, path.key)
    return json_answer({"deleted": True})
