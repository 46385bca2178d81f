"""The documented API, `/api/v1`: each endpoint parses, calls one service function, and renders. One module per resource."""

from uploadkit.web.api import (
    file_endpoints,
    file_route_endpoints,
    key_endpoints,
    project_endpoints,
    upload_endpoints,
    upload_token_endpoints,
    usage_endpoints,
    webhook_endpoints,
)
from uploadkit.web.api.blueprint import api

__all__ = [
    "api",
    "file_endpoints",
    "file_route_endpoints",
    "key_endpoints",
    "project_endpoints",
    "upload_endpoints",
    "upload_token_endpoints",
    "usage_endpoints",
    "webhook_endpoints",
]
