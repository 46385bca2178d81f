"""`/files…`: find, list, change, link and delete files."""

from __future__ import annotations

from typing import Any

from flask import Response, g

from uploadkit.core.errors import Conflict, NotFound, StorageUnavailable
from uploadkit.files import links
from uploadkit.files import service as files
from uploadkit.schemas.base import DELETED, Deleted
from uploadkit.schemas.files import (
    DeleteFilesBody,
    DeletionObject,
    FileIdPath,
    FileListQuery,
    FileObject,
    FilePage,
    FilePath,
    LinkBody,
    LinkObject,
    MetadataBody,
    NothingDeleted,
    deletion,
)
from uploadkit.schemas.sdk import FileInBothNames
from uploadkit.web.api.blueprint import api, file_answer, url_of
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer

_deletion: dict[str, Any] = answers(DeletionObject, body=True)
_deletion["responses"] |= {207: DeletionObject, 404: NothingDeleted}


@api.get("/files", **answers(FilePage, StorageUnavailable))
def list_files(query: FileListQuery) -> Response:
    """List files, newest first."""
    page = files.list_files(g.caller, query.to_filter(), query.limit, query.cursor)
    return json_answer(FilePage.of(page, lambda row: FileObject.of(row, url_of(row))))


@api.delete("/files", **_deletion)
def delete_files(body: DeleteFilesBody) -> Response:
    """Delete up to 100 files; each one whatever becomes of the others."""
    done = files.delete_files(context(), g.caller, body.keys)
    return json_answer(*deletion(done))


@api.get("/files/by-id/<fileId>", **answers(FileInBothNames, NotFound))
def get_file_by_id(path: FileIdPath) -> Response:
    """Get one file by its id."""
    return file_answer(files.find_file_by_id(g.caller, path.file_id))


@api.post("/files/<path:key>/link", **answers(LinkObject, NotFound, Conflict, body=True))
def make_link(path: FilePath, body: LinkBody) -> Response:
    """Make a link that reads a file, public or private, until it expires."""
    made = links.make_link(context(), g.caller, path.key, body.expires_in, download=body.download)
    return json_answer(LinkObject.model_validate(made))


@api.get("/files/<path:key>", **answers(FileInBothNames, NotFound))
def get_file(path: FilePath) -> Response:
    """Get one file by its key."""
    return file_answer(files.find_file(g.caller, path.key))


@api.patch("/files/<path:key>", **answers(FileInBothNames, NotFound, body=True))
def update_file(path: FilePath, body: MetadataBody) -> Response:
    """Merge metadata into a file."""
    return file_answer(files.merge_metadata(g.caller, path.key, body.metadata))


@api.delete("/files/<path:key>", **answers(Deleted, NotFound, Conflict, StorageUnavailable))
def delete_file(path: FilePath) -> Response:
    """Delete a file; an upload under way is aborted."""
    files.delete_file(context(), g.caller, path.key)
    return json_answer(DELETED)
