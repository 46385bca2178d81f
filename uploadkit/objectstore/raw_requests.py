"""The three requests to the store that every upload costs, without boto3: GET of an object's beginning, copy, DELETE.

boto3 spends more processor time on each of them than all else that completing an upload takes (docs/performance.md). Here they go out by
our own signer, over the HTTP session of the boto3 client that they stand in for: the same time-outs, proxies, certificates, connections.
Errors are those of boto3 (`botocore.exceptions`), so that store.py need not know who has asked.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError, create_parser

from uploadkit.core import clock
from uploadkit.objectstore.boto import PASSING_STATUSES, require_s3
from uploadkit.objectstore.sigv4 import Signer, encode_path

# Of an error, and of what is no object: a copy's document, or nothing.
_MOST_OTHER_BYTES = 64 * 1024
# No connection is none of botocore's HTTPClientError.
_PASSING = (HTTPClientError, ConnectionError, IncompleteReadError)
_PARSER = create_parser("rest-xml")


class DirectRequests:
    """Sends requests on the objects of `bucket`. `client` is the boto3 client whose place is taken, `signer` signs for its endpoint."""

    def __init__(self, client: Any, signer: Signer, bucket: str, *, attempts: int) -> None:
        self._bucket = bucket
        self._attempts = attempts
        self._session = client._endpoint.http_session
        self._operations = {name: client.meta.service_model.operation_model(name) for name in ("GetObject", "CopyObject", "DeleteObject")}
        self._signer = signer

    def get(self, key: str, length: int, *, start: int = 0) -> tuple[Mapping[str, str], bytes]:
        """Return headers and body of a GET of `length` bytes of an object, from byte `start` on. Raises ClientError and BotoCoreError."""
        answer = self._send("GetObject", "GET", key, {"Range": f"bytes={start}-{start + length - 1}"}, most_bytes=length)
        return answer["headers"], answer["body"]

    def copy(self, source: str, source_etag: str, target: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Have an object copied if it still has that ETag, with `headers` as its own; return the copy's ETag and the answer's headers."""
        conditions = {
            "x-amz-copy-source": f"{self._bucket}/{encode_path(source)}",
            "x-amz-copy-source-if-match": f'"{source_etag}"',
            "x-amz-metadata-directive": "REPLACE",
        }
        answer = self._send("CopyObject", "PUT", target, {**headers, **conditions})
        try:
            copied = ElementTree.fromstring(answer["body"])  # noqa: S314 (by the parser that botocore uses, too)
        except ElementTree.ParseError as error:
            raise ResponseParserError(str(error)) from None
        return copied.findtext("{*}ETag", ""), answer["headers"]

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._send("DeleteObject", "DELETE", key, {})

    def _send(self, operation: str, method: str, key: str, headers: Mapping[str, str], most_bytes: int | None = None) -> dict[str, Any]:
        """Send until the answer is no passing failure, or all attempts are made; what is no success is raised as boto3 would."""
        for attempt in range(1, self._attempts + 1):
            try:
                answer = self._send_once(method, key, headers, most_bytes)
            except _PASSING:
                if attempt == self._attempts:
                    raise
            else:
                if answer["status_code"] not in PASSING_STATUSES or attempt == self._attempts:
                    break
            time.sleep(random.uniform(0.1, 1))  # noqa: S311
        model = self._operations[operation]
        if answer["status_code"] >= 300:
            raise ClientError(_PARSER.parse(answer, model.output_shape), operation)
        require_s3(model, answer)
        return answer

    def _send_once(self, method: str, key: str, headers: Mapping[str, str], most_bytes: int | None) -> dict[str, Any]:
        url, signed = self._signer.sign(method, key, headers, at_ms=clock.machine_ms())
        answer = self._session.send(AWSPreparedRequest(method, url, HeadersDict(signed), None, stream_output=True), errors_unread=True)
        raw, is_whole = answer.raw, False
        try:
            most = most_bytes if most_bytes is not None and answer.status_code < 300 else _MOST_OTHER_BYTES
            body: bytes = raw.read(most)
            if raw.length_remaining and len(body) != most:
                raise IncompleteReadError(actual_bytes=len(body), expected_bytes=len(body) + raw.length_remaining)
            is_whole = raw.length_remaining == 0 or (raw.length_remaining is None and len(body) < most)
        finally:
            if is_whole:
                raw.release_conn()
            else:  # a store that knows no Range still sends
                raw.close()
        # A copy that fails after its 200 has gone out is told of in the body.
        failed_late = method == "PUT" and answer.status_code == 200 and b"<Error" in body
        return {"status_code": 500 if failed_late else answer.status_code, "headers": answer.headers, "body": body}
