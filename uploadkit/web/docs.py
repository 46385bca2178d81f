"""`/api/v1/openapi.json` and `/docs`: the API's document, and a page to read it and try calls on. All of it served from here."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import Any

import flask_openapi3_swagger.templates
from flask import Blueprint, Response, current_app, render_template, send_from_directory
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from uploadkit import __version__
from uploadkit.schemas.sdk import SdkErrorAnswer
from uploadkit.web import openapi
from uploadkit.web.requests import json_answer
from uploadkit.web.sdk import cloud_sdk

docs = Blueprint("docs", __name__)

# Swagger UI sets inline styles from its script and draws its icons from data: URLs.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@docs.get("/api/v1/openapi.json")
def document() -> Response:
    """Answer the OpenAPI 3.1 document, made from the schemas that validate requests."""
    return json_answer(openapi.with_examples(openapi.with_idempotency_keys(current_app.api_doc)))  # type: ignore[attr-defined]


@docs.get("/sdk/api/v1/openapi.json")
def sdk_document() -> Response:
    """Answer the same for the cloud-SDK surface."""
    return json_answer(_sdk_document())


@cache
def _sdk_document() -> dict[str, Any]:
    """flask-openapi3 makes one document per application, so this surface's comes from an application that never serves."""
    described = OpenAPI(
        "uploadkit.sdk",
        info=Info(title="UploadKit, cloud-SDK API", version=__version__, description=openapi.SDK_DESCRIPTION),
        security_schemes={"bearer": openapi.SECURITY_SCHEMES["bearer"]},
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=SdkErrorAnswer,
    )
    described.register_api(cloud_sdk)
    return openapi.with_examples(described.api_doc)


@docs.get("/docs")
def page() -> Response:
    """Show the document as a page."""
    answer = Response(render_template("docs.html"), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = DOCS_POLICY
    return answer


@docs.get("/docs/assets/<path:name>")
def asset(name: str) -> Response:
    """Serve Swagger UI out of its installed package."""
    with as_file(files(flask_openapi3_swagger.templates) / "swagger") as directory:
        return send_from_directory(directory, name, max_age=86400)
