"""The Content-Security-Policy of the dashboard's pages."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

from uploadkit.context import Context


def policy(ctx: Context) -> str:
    """Return the policy of every page of the dashboard."""
    address = ctx.store.address
    return _policy_for(address.base_url(address.public_endpoint), ctx.config.storage.public_url or "")


@cache
def _policy_for(*addresses: str) -> str:
    """Our own origin, and those that files are read from: `/f/` leads there, and a browser holds both ends against the policy."""
    parts = [urlsplit(address) for address in addresses if address]
    stores = " ".join(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data: {stores}; media-src 'self' blob: {stores}; "
        f"frame-src 'self' blob: {stores}; connect-src 'self' {stores}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
