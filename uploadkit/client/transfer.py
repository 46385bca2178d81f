"""The bytes on their way to the store: parts, the threads that send them block by block, and progress. Shared within uploadkit.client."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from uploadkit.client.errors import UploadKitConnectionError, UploadKitStorageError, not_this_api
from uploadkit.client.source import Source
from uploadkit.client.wire import Stopped, Wire

_BLOCK_BYTES = 128 * 1024
_MAX_STALE_URLS = 3
_MAX_PARTS = 10_000  # S3's own limit; a list of more would take the memory that the sender of a part size chooses

ProgressCallback = Callable[[int, int], None]


class Progress:
    """Counts the bytes that were sent, from any thread."""

    def __init__(self, total_bytes: int, callback: ProgressCallback | None) -> None:
        self._total_bytes, self._callback = total_bytes, callback
        self._sent_bytes, self._lock = 0, threading.Lock()

    def add(self, count: int) -> None:
        """Count `count` bytes more, or fewer."""
        with self._lock:
            self._sent_bytes += count
            if self._callback:
                self._callback(self._sent_bytes, self._total_bytes)

    def restart(self, sent_bytes: int) -> None:
        """Count anew from `sent_bytes` on."""
        self.add(sent_bytes - self._sent_bytes)


class Parts:
    """The parts of one upload: what the store has, URLs for the rest, and the threads that send them.

    `answer` is what the API tells of them (`partSize`, `parts`, `uploaded`; `headers` to send along), `ask` gets it anew.
    `renew_after_hang_up`: a store may hang up on an expired URL before its answer can be read. Not where asking may start a second upload.
    """

    def __init__(
        self,
        wire: Wire,
        source: Source,
        progress: Progress,
        answer: Mapping[str, Any],
        ask: Callable[[], Mapping[str, Any]],
        *,
        renew_after_hang_up: bool = True,
    ) -> None:
        self._wire, self._source, self._progress, self._ask = wire, source, progress, ask
        self._renew_after_hang_up = renew_after_hang_up
        self._part_size, self._headers = int(answer["partSize"]), answer.get("headers") or {}
        if -(-source.size_bytes // self._part_size) > _MAX_PARTS:
            raise not_this_api(200)
        self._urls: dict[int, str] = {}
        self.etags: dict[int, str | None] = {}
        self._lock, self._stopped, self._generation = threading.Lock(), threading.Event(), 0
        self._take(answer)
        progress.restart(sum(self._length(number) for number in self.etags))

    def send_missing(self, parallel_parts: int) -> None:
        """Send every part that is not there, `parallel_parts` at a time; raise the first failure that retrying did not cure."""
        count = -(-self._source.size_bytes // self._part_size)
        missing = [number for number in range(1, count + 1) if number not in self.etags]
        workers = min(parallel_parts, len(missing))
        numbers = iter(missing)
        outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                for number in numbers:
                    if self._stopped.is_set():
                        break
                    self._send(number)
                outcomes.put(None)
            except BaseException as error:  # for the waiting thread to raise
                outcomes.put(error)

        try:
            for _ in range(workers):
                # Daemon: a thread that waits for a stalled store must not keep the process from ending after Ctrl-C.
                threading.Thread(target=work, daemon=True).start()
            for _ in range(workers):
                failure = outcomes.get()
                if failure is not None:
                    raise failure
        finally:
            self._stopped.set()

    def _send(self, number: int) -> None:
        length, stale_generation, stale_urls = self._length(number), -1, 0

        def attempt() -> None:
            nonlocal stale_generation, stale_urls
            url, generation = self._url_of(number, stale_generation)
            if number in self.etags:  # it had arrived, only the store's answer had not
                self._progress.add(length)
                return
            try:
                etag = self._put(url, (number - 1) * self._part_size, length)
            except UploadKitConnectionError:
                if self._renew_after_hang_up:
                    stale_generation = generation
                raise
            except UploadKitStorageError as error:
                if error.url_may_be_stale:
                    stale_generation, stale_urls = generation, stale_urls + 1
                    error.transient = stale_urls < _MAX_STALE_URLS
                raise
            with self._lock:
                self.etags[number] = etag

        self._wire.retrying(attempt, self._stopped)

    def _put(self, url: str, offset: int, length: int) -> str | None:
        sent_bytes = 0

        def blocks() -> Iterator[bytes]:
            nonlocal sent_bytes
            while sent_bytes < length:
                if self._stopped.is_set():
                    raise Stopped
                block = self._source.read_at(offset + sent_bytes, min(_BLOCK_BYTES, length - sent_bytes))
                sent_bytes += len(block)
                self._progress.add(len(block))
                yield block

        try:
            return self._wire.put(url, blocks(), length, self._headers)
        except Exception:
            if not self._stopped.is_set():
                self._progress.add(-sent_bytes)  # to be sent again
            raise

    def _url_of(self, number: int, stale_generation: int) -> tuple[str, int]:
        """Return a part's URL. URLs expire together, so the first thread that finds its own stale renews them for all."""
        with self._lock:
            if self._generation == stale_generation:
                self._take(self._ask())
                self._generation += 1
            if number not in self._urls:
                raise not_this_api(200)
            return self._urls[number], self._generation

    def _take(self, answer: Mapping[str, Any]) -> None:
        self._urls.update((part["partNumber"], part["uploadUrl"]) for part in answer["parts"])
        uploaded = answer.get("uploaded", ())
        self.etags.update({part["partNumber"]: part["etag"] for part in uploaded if part["size"] == self._length(part["partNumber"])})

    def _length(self, number: int) -> int:
        return min(self._part_size, self._source.size_bytes - (number - 1) * self._part_size)
