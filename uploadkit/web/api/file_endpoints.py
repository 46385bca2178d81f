"""`/files…`: find, list, change and delete files (api.md section 7)."""

from __future__ import annotations

from flask import Response, g

from uploadkit import files
from uploadkit.web import context, documented, json_answer, schemas
from uploadkit.web.api.blueprint import api, url_of


@api.get("/files")
def list_files(query: schemas.FileListQuery) -> Response:
    """List files, newest first."""
    page = files.list_files(g.caller, query.to_filter(), query.limit, query.cursor)
    return json_answer(documented.file_page(page, url_of))


@api.get("/files/by-id/<fileId>")
def get_file_by_id(path: schemas.FileIdPath) -> Response:
    """Get one file by its id."""
    return json_answer(documented.file(files.find_file_by_id(g.caller, path.file_id), url_of))


@api.get("/files/<path:key>")
def get_file(path: schemas.FilePath) -> Response:
    """Get one file by its key."""
    return json_answer(documented.file(files.find_file(g.caller, path.key), url_of))


@api.patch("/files/<path:key>")
def update_file(path: schemas.FilePath, body: schemas.MetadataBody) -> Response:
    """Merge metadata into a file."""
    return json_answer(documented.file(files.merge_metadata(g.caller, path.key, body.metadata), url_of))


@api.delete("/files/<path:key>")
def delete_file(path: schemas.FilePath) -> Response:
    """Delete a file; an upload under way is aborted."""
    files.delete_file(context(), g.caller, path.key)
    return json_answer({"deleted": True})
