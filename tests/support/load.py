"""Four clients that do all sorts of things to an appliance at once, and what was acknowledged to them."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import urllib3

from tests.support.appliance import JPEG, Appliance
from tests.support.background import beside
from uploadkit.core.sizes import MIB


@dataclass
class Facts:
    """What was acknowledged: by file id the file's URL and SHA-256, and the ids whose deletion was answered by 200."""

    uploaded: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    kills: int = 0
    calls: Counter[str] = field(default_factory=Counter)


class Load:
    """Four clients that do all sorts of things until told to stop. Broken connections and refusals are part of it; wrong bytes are not."""

    def __init__(self, appliance: Appliance, *, with_parts: bool) -> None:
        """With `with_parts` some uploads go in parts: one that dies on the way takes most of a minute to end."""
        self.appliance, self.facts, self._with_parts = appliance, Facts(), with_parts
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(4)]

    def going_on(self) -> contextlib.AbstractContextManager[None]:
        return beside(self._threads, self._over)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        acts = [self._upload] * 12 + [self._upload_and_delete] * 4 + [self._abandon, self._read]
        acts += [self._upload_in_parts, self._abort] * self._with_parts
        while not self._over.is_set():
            act = chance.choice(acts)
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                act(chance)
                self.facts.calls[act.__name__] += 1

    def _upload(self, chance: random.Random) -> tuple[str, str] | None:
        content = JPEG + chance.randbytes(chance.randrange(10, 20_000))
        slot = self.appliance.request(len(content))
        if slot.status != 200 or self.appliance.put(slot.json, content).status != 200:
            return None
        done = self.appliance.complete(slot.json)
        if done.status == 200 and chance.random() < 0.3:
            again = self.appliance.complete(slot.json)
            if again.status == 200 and again.json != done.json:
                self.wrong.append("a repeated complete answered something else")
        return self._acknowledged(done, content)

    def _acknowledged(self, done: Any, content: bytes) -> tuple[str, str] | None:
        if done.status != 200:
            return None
        file = done.json
        self.facts.uploaded[file["id"]] = (file["url"], hashlib.sha256(content).hexdigest(), file["key"])
        return file["id"], file["key"]

    def _upload_in_parts(self, chance: random.Random) -> None:
        content = b"\x00\x00\x00\x20ftypisom" + chance.randbytes(11 * MIB)
        body = {"fileName": "b", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
        slot = self.appliance.call("POST", "/upload/multipart/init", body)
        if slot.status != 200:
            return
        for part in slot.json["parts"]:
            start = (part["partNumber"] - 1) * slot.json["partSize"]
            if self.appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot.json["partSize"]]).status != 200:
                return
        ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
        if made := self._acknowledged(self.appliance.call("POST", "/upload/multipart/complete", ids), content):
            self._delete(*made)  # they would fill the disk

    def _upload_and_delete(self, chance: random.Random) -> None:
        if made := self._upload(chance):
            self._delete(*made)

    def _delete(self, file_id: str, key: str) -> None:
        self.facts.perhaps_deleted.add(file_id)  # the answer may be lost
        if self.appliance.call("DELETE", f"/files/{key}").status == 200:
            self.facts.deleted.add(file_id)

    def _abandon(self, chance: random.Random) -> None:
        slot = self.appliance.request(50)
        if slot.status == 200 and chance.random() < 0.5:
            self.appliance.put(slot.json, JPEG + b"x" * (50 - len(JPEG)))

    def _abort(self, chance: random.Random) -> None:
        body = {"fileName": "b", "fileSize": 11 * MIB, "contentType": "video/mp4", "routeSlug": "default"}
        slot = self.appliance.call("POST", "/upload/multipart/init", body)
        if slot.status == 200:
            ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
            self.appliance.call("POST", "/upload/multipart/abort", ids)

    def _read(self, chance: random.Random) -> None:
        known = list(self.facts.uploaded.copy().items())  # a copy first: others add to it while this looks
        if not known:
            return
        file_id, (url, digest, _) = chance.choice(known)
        answer = self.appliance.read(url)
        if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() != digest:
            self.wrong.append(f"the bytes of {file_id} have changed")
