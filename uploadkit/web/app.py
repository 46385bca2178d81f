"""`create_app`: the one place where the web application is put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError

from uploadkit import __version__
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core import packaged_files
from uploadkit.schemas.base import to_validation_failed
from uploadkit.schemas.errors import ErrorAnswer
from uploadkit.web import dashboard, middleware, openapi, requests, surfaces
from uploadkit.web.api import api
from uploadkit.web.browser import browser
from uploadkit.web.docs import docs
from uploadkit.web.file_redirects import links
from uploadkit.web.sdk import cloud_sdk
from uploadkit.web.static_modules import modules
from uploadkit.web.status import pages


class App(OpenAPI):
    """Flask without what nothing here has: coroutines as views, and its signed session cookie. Each request would pay for looking."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view as it is."""
        return func


class NoSessions(SessionInterface):
    """The dashboard keeps its sessions itself (web/dashboard/guard.py)."""

    _nobody = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Return the session that everybody has and that refuses to be written to."""
        return self._nobody


def create_app(ctx: Context, rate_limits: RateLimits) -> Flask:
    """Return the WSGI application that serves `ctx`, each API key and each address within `rate_limits`."""
    app = App(
        "uploadkit",
        info=Info(title="UploadKit", version=__version__, description=openapi.DESCRIPTION),
        security_schemes=openapi.SECURITY_SCHEMES,
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=ErrorAnswer,
        validation_error_callback=_refuse,
        template_folder=str(packaged_files.TEMPLATES),
        static_folder=str(packaged_files.STATIC),
    )
    app.request_class = requests.JsonRequest
    app.jinja_env.globals["program"] = packaged_files.PROGRAM
    # Lines of templates that hold nothing but a statement leave none in the page.
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # Keys in paths may hold anything, also two slashes in a row.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = ctx.config.server.max_body_bytes
    app.extensions["uploadkit"] = ctx
    app.extensions["uploadkit.rate_limits"] = rate_limits
    middleware.install(app)
    app.wsgi_app = surfaces.without_doubled_slash(app.wsgi_app)  # type: ignore[method-assign]
    app.register_api(api)
    app.register_blueprint(cloud_sdk)
    app.register_blueprint(browser)
    app.register_blueprint(links)
    app.register_blueprint(pages)
    app.register_blueprint(docs)
    app.register_blueprint(modules)
    if ctx.config.dashboard.enabled:
        dashboard.install(app, ctx)
    return app


def _refuse(error: ValidationError) -> NoReturn:
    raise to_validation_failed(error)
