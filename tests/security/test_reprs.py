"""What a debugger, a traceback with locals or an error tracker would show: the `repr()` of everything of ours that is alive."""

from __future__ import annotations

import gc
from dataclasses import replace

from tests.conftest import App
from tests.support.single_uploads import request, upload
from uploadkit import config
from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE
from uploadkit.db.models import WebhookSecret
from uploadkit.files import links
from uploadkit.objectstore.store import ObjectStore
from uploadkit.webhooks import secrets as webhook_secrets


def test_no_repr_shows_a_secret(app: App) -> None:
    hush = "hush-hush-hush-hush"
    settings = config.load(
        None,
        {
            "UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": hush,
            "UPLOADKIT_STORAGE__BYOS__UPLOAD_SECRET_ACCESS_KEY": hush,
            "UPLOADKIT_RATE_LIMITS__STORAGE_URI": f"redis://:{hush}@localhost",
            "UPLOADKIT_DATA__DIR": "data",
        },
    )
    store = ObjectStore(replace(app.ctx.store.address, secret_access_key=hush, upload_secret_access_key=hush))
    issued = api_keys.issue_key(app.ctx.config, COMMAND_LINE, app.project.id, "x")
    caller = api_keys.find_caller(app.ctx.config, issued.plaintext)
    signing = webhook_secrets.signing_secrets(app.project.id)
    alive = [
        upload(app, caller),
        request(app, caller),
        links.make_link(app.ctx, caller, upload(app, caller).key, 60, download=False),
    ]
    looked_at = 0
    for thing in [*gc.get_objects(), settings, store, issued, signing, WebhookSecret.get(), alive]:
        if str(type(thing).__module__).startswith("uploadkit") or thing is alive:
            looked_at += 1
            rendered = repr(thing)
            for secret in (hush, issued.plaintext, signing.current, app.api_key, app.ctx.store.address.secret_access_key):
                assert secret not in rendered, type(thing)
    assert looked_at > 20
