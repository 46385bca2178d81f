"""The documented API, `/api/v1`: each endpoint parses, calls one service function, and renders. One module per resource."""

from uploadkit.web.api import api_keys, file_routes, files, projects, upload_tokens, uploads, usage, webhooks
from uploadkit.web.api.blueprint import api

__all__ = ["api", "api_keys", "file_routes", "files", "projects", "upload_tokens", "uploads", "usage", "webhooks"]
