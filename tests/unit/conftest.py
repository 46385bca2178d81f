"""Fixtures of the tests of several packages."""

from tests.support.client_relay import big, client, relay, small

__all__ = ["big", "client", "relay", "small"]
