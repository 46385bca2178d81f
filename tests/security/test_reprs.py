"""What a debugger, a traceback with locals or an error tracker would show: the `repr()` of everything of ours that is alive."""

from __future__ import annotations

import gc
from dataclasses import replace

from tests.conftest import House
from tests.support.single_uploads import request, upload
from uploadkit import config
from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE
from uploadkit.db.models import WebhookSecret
from uploadkit.files import links
from uploadkit.objectstore.store import ObjectStore
from uploadkit.webhooks import secrets as webhook_secrets


def test_no_repr_shows_a_secret(house: House) -> None:
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
    store = ObjectStore(replace(house.ctx.store.address, secret_access_key=hush, upload_secret_access_key=hush))
    issued = api_keys.issue_key(house.ctx.config, COMMAND_LINE, house.project.id, "x")
    caller = api_keys.find_caller(house.ctx.config, issued.plaintext)
    signing = webhook_secrets.signing_secrets(house.project.id)
    alive = [
        upload(house, caller),
        request(house, caller),
        links.make_link(house.ctx, caller, upload(house, caller).key, 60, download=False),
    ]
    looked_at = 0
    for thing in [*gc.get_objects(), settings, store, issued, signing, WebhookSecret.get(), alive]:
        if str(type(thing).__module__).startswith("uploadkit") or thing is alive:
            looked_at += 1
            shown = repr(thing)
            for secret in (hush, issued.plaintext, signing.current, house.api_key, house.ctx.store.address.secret_access_key):
                assert secret not in shown, type(thing)
    assert looked_at > 20
