"""The requests that go out without boto3: what is tried again, and answers that name no size."""

from __future__ import annotations

import socket
from unittest.mock import patch

import pytest

from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.raw_requests import DirectRequests
from uploadkit.objectstore.store import ObjectStore


def store_at(port: int) -> ObjectStore:
    """A store by path at a port of this machine."""
    url = f"http://127.0.0.1:{port}"
    return ObjectStore(StoreAddress(url, url, "us-east-1", "bucket", "path", "key", "secret"))


def test_a_connection_that_is_refused_is_tried_again() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port, and it refuses
        taken.bind(("127.0.0.1", 0))
        store = store_at(taken.getsockname()[1])
        with (
            patch("uploadkit.objectstore.raw_requests.time.sleep") as sleep,
            pytest.raises(StorageUnavailable, match="EndpointConnectionError"),
        ):
            store.head("a.txt")
    assert sleep.call_count == 1


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "2", "Content-Range": "bytes 0-1/*"}])
def test_an_object_of_unknown_size_is_no_object_of_another_size(headers: dict[str, str]) -> None:
    with patch.object(DirectRequests, "get", return_value=({"ETag": '"e"', **headers}, b"ab")), pytest.raises(StorageUnavailable):
        store_at(9).head("a.txt")
