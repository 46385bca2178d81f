"""Tokens that prove who asks: how each kind looks, how one is made, and what is kept and shown of it.

A token is random bits behind a prefix that says what it is for. The plaintext exists once, in the answer that creates it; the database
keeps its SHA-256, which is enough for what is no password: nobody guesses 192 bits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from uploadkit.core.values import Environment

API_KEY: Final = "uk_"
UPLOAD_TOKEN: Final = "ukt_"  # noqa: S105 -- a prefix
SETUP_LINK: Final = "uks_"

_RANDOM_BYTES, _RANDOM_BYTES_OF_A_SESSION = 24, 32
_RANDOM = r"[A-Za-z0-9_-]{32}"
_API_KEY_FORM = re.compile(rf"{API_KEY}(live|test)_{_RANDOM}")
_UPLOAD_TOKEN_FORM = re.compile(rf"{UPLOAD_TOKEN}{_RANDOM}")
_SHOWN_AT_THE_START, _SHOWN_AT_THE_END = len("uk_live_") + 3, 6


def new_api_key(environment: Environment) -> str:
    """Return a new API key of an environment, such as `uk_live_` and 32 characters."""
    return _new(f"{API_KEY}{environment}_")


def new_upload_token() -> str:
    """Return a new upload token: `ukt_` and 32 characters."""
    return _new(UPLOAD_TOKEN)


def new_setup_token() -> str:
    """Return a new token of a set-up link: `uks_` and 32 characters."""
    return _new(SETUP_LINK)


def new_session_token() -> str:
    """Return a new token for the cookie of a session: 43 characters without a prefix, because nobody ever sees it."""
    return secrets.token_urlsafe(_RANDOM_BYTES_OF_A_SESSION)


def _new(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(_RANDOM_BYTES)


def is_meant_as_api_key(text: str) -> bool:
    """Say whether a credential begins as API keys do, right or wrong."""
    return text.startswith(API_KEY)


def has_form_of_api_key(text: str) -> bool:
    """Say whether `text` could be an API key: prefix, environment and length are right."""
    return _API_KEY_FORM.fullmatch(text) is not None


def has_form_of_upload_token(text: str) -> bool:
    """Say whether `text` could be an upload token: prefix and length are right."""
    return _UPLOAD_TOKEN_FORM.fullmatch(text) is not None


def hashed(token: str) -> str:
    """Return what the database keeps of a token: its SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def masked(api_key: str) -> str:
    """Return the form of an API key for people: prefix, first 3 characters, `...`, last 6."""
    return f"{api_key[:_SHOWN_AT_THE_START]}...{api_key[-_SHOWN_AT_THE_END:]}"
