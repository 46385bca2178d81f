"""The life of one upload: asked for, sent, completed; gone on with, started anew or given up. Shared within uploadkit.client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from uploadkit.client.errors import UploadKitApiError, UploadKitClientError, UploadKitFileError
from uploadkit.client.resume import UploadState
from uploadkit.client.source import Source
from uploadkit.client.transfer import Parts, Progress
from uploadkit.client.wire import Wire

MULTIPART_OVER_BYTES = 10 * 1024 * 1024
_ABORT_TIMEOUT_SECONDS = 5.0
_COMPLETE_TIMEOUT_SECONDS = 300.0  # the store copies or joins the whole file before it answers
_NO_LONGER_RESUMABLE = {"UPLOAD_NOT_FOUND", "UPLOAD_EXPIRED", "UPLOAD_NOT_VERIFIED", "INVALID_PARTS", "CONFLICT"}

Answer = dict[str, Any]


def upload_single(wire: Wire, source: Source, declared: Mapping[str, Any], progress: Progress) -> Answer:
    """Upload by one PUT, which is one part to `Parts`; return the file as the API describes it."""
    # The same key on every try: a repeated request is answered with the same file and a fresh URL, while the appliance remembers it.
    idempotency_key, slot = str(uuid.uuid4()), {}

    def ask() -> Answer:
        nonlocal slot
        slot = wire.call_once("POST", "/upload/request", declared, idempotency_key=idempotency_key, required=("fileId", "uploadUrl"))
        return slot | {"partSize": source.size_bytes, "parts": [{"partNumber": 1, "uploadUrl": slot["uploadUrl"]}]}

    Parts(wire, source, progress, wire.retrying(ask), ask, renew_after_hang_up=False).send_missing(1)
    source.check_unchanged()
    return wire.call("POST", "/upload/complete", {"fileId": slot["fileId"]}, timeout_seconds=_COMPLETE_TIMEOUT_SECONDS)


class MultipartUpload:
    """An upload in parts, of which `state` may already know."""

    def __init__(
        self, wire: Wire, source: Source, declared: Mapping[str, Any], progress: Progress, state: UploadState, parallel_parts: int
    ) -> None:
        self._wire, self._source, self._declared, self._progress = wire, source, declared, progress
        self._state, self._parallel_parts = state, parallel_parts

    def run(self) -> Answer:
        """Go on with the upload, or start it, or do both when the appliance no longer knows it; return the file."""
        resumed = bool(self._state.content)
        try:
            return self._try()
        except UploadKitApiError as error:
            if not (resumed and error.code in _NO_LONGER_RESUMABLE):
                raise
        self._state.save({})
        return self._try()

    def _try(self) -> Answer:
        try:
            if "uploadId" not in self._state.content:
                return self._send(self._begin())
            try:
                answer = self._wire.retrying(self._ask)
            except UploadKitApiError as error:
                if error.code not in _NO_LONGER_RESUMABLE:
                    raise
                # Perhaps it was completed and the answer never arrived: repeating is safe, and says so.
                return self._complete({})
            return self._send(answer)
        except UploadKitClientError as error:
            self._settle(error)
            raise

    def _begin(self) -> Answer:
        key = self._state.content.get("idempotencyKey") or str(uuid.uuid4())
        self._state.save({"idempotencyKey": key})
        required = ("fileId", "uploadId", "partSize", "parts")
        answer = self._wire.call("POST", "/upload/multipart/init", self._declared, idempotency_key=key, required=required)
        self._state.save(self._state.content | {"fileId": answer["fileId"], "uploadId": answer["uploadId"]})
        return answer

    def _ask(self) -> Answer:
        return self._wire.call_once("POST", "/upload/multipart/parts", self._state.upload, required=("partSize", "parts"))

    def _send(self, answer: Answer) -> Answer:
        try:
            return self._complete(self._send_missing(answer))
        except UploadKitApiError as error:
            if error.code != "INVALID_PARTS":
                raise
        self._send_missing(self._wire.retrying(self._ask))
        return self._complete({})

    def _send_missing(self, answer: Answer) -> Mapping[int, str | None]:
        parts = Parts(self._wire, self._source, self._progress, answer, self._ask)
        parts.send_missing(self._parallel_parts)
        self._source.check_unchanged()
        return parts.etags

    def _complete(self, etags: Mapping[int, str | None]) -> Answer:
        # ETags let the store refuse parts that are not the ones we sent. One that a proxy took away: the appliance lists the parts itself.
        body: Answer = dict(self._state.upload)
        if etags and all(etags.values()):
            body["parts"] = [{"partNumber": number, "etag": etag} for number, etag in sorted(etags.items())]
        file = self._wire.call("POST", "/upload/multipart/complete", body, timeout_seconds=_COMPLETE_TIMEOUT_SECONDS, required=("id",))
        self._state.save({})
        return file

    def _settle(self, error: UploadKitClientError) -> None:
        """Free at once what can't be gone on with; keep what can."""
        begun = "uploadId" in self._state.content
        lost = isinstance(error, UploadKitFileError) or not self._state.is_kept
        if lost and begun:
            with suppress(UploadKitClientError):
                self._wire.call_once("POST", "/upload/multipart/abort", self._state.upload, timeout_seconds=_ABORT_TIMEOUT_SECONDS)
        refused = isinstance(error, UploadKitApiError) and not error.transient
        if lost or (refused and (not begun or error.code in _NO_LONGER_RESUMABLE)):
            self._state.save({})
