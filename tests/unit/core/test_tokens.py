"""Tokens: how each kind looks, and what is kept and shown of it."""

from __future__ import annotations

import re

from uploadkit.core import tokens


def test_each_kind_has_its_form() -> None:
    assert re.fullmatch(r"uk_live_[A-Za-z0-9_-]{32}", tokens.new_api_key("live"))
    assert re.fullmatch(r"uk_test_[A-Za-z0-9_-]{32}", tokens.new_api_key("test"))
    assert re.fullmatch(r"ukt_[A-Za-z0-9_-]{32}", tokens.new_upload_token())
    assert re.fullmatch(r"uks_[A-Za-z0-9_-]{32}", tokens.new_setup_token())
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", tokens.new_session_token())


def test_the_form_is_looked_at_whole() -> None:
    for new, has_form in (
        (lambda: tokens.new_api_key("live"), tokens.has_form_of_api_key),
        (lambda: tokens.new_api_key("test"), tokens.has_form_of_api_key),
        (tokens.new_upload_token, tokens.has_form_of_upload_token),
    ):
        token = new()
        assert has_form(token)
        for wrong in (token[:-1], token + "A", token + "\n", f" {token}", token[:-1] + "é", token.upper(), tokens.new_setup_token()):
            assert not has_form(wrong), wrong


def test_what_is_kept_is_a_hash_and_what_is_shown_is_a_few_characters() -> None:
    token = "uk_live_a1B" + "-" * 23 + "x9Y8z7"
    assert tokens.masked(token) == "uk_live_a1B...x9Y8z7"
    assert tokens.hashed("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
