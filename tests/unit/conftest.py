"""Fixtures of the tests of several packages."""

from tests.support.client_gate import big, client, gate, small

__all__ = ["big", "client", "gate", "small"]
