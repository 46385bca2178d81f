"""The documented API, `/api/v1`: each endpoint parses, calls one service function, and renders. One module per resource."""

# In this order their calls stand in the OpenAPI document.
from uploadkit.web.api import files, file_routes, api_keys, projects, uploads, upload_tokens, usage, webhooks  # noqa: I001
from uploadkit.web.api.blueprint import api

__all__ = ["api", "api_keys", "file_routes", "files", "projects", "upload_tokens", "uploads", "usage", "webhooks"]
