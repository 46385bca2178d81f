"""SIGKILL at bad moments: nothing acknowledged is lost, and everything comes back by itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.appliance import JPEG, Appliance, free_port, running, wait_until
from tests.support.background import beside


def store_processes(appliance: Appliance) -> list[psutil.Process]:
    """The store's processes of this appliance, found by their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(appliance.data_dir) in argument for argument in process.cmdline()) and "weed" in process.name():
                found.append(process)
    return found


class Load:
    """Uploads from several threads until told to stop; keeps what was acknowledged."""

    def __init__(self, appliance: Appliance, threads: int = 4) -> None:
        self.appliance = appliance
        self.acknowledged: dict[str, bytes] = {}
        self.refusals: set[tuple[int, str]] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._upload_until_over, args=(n,)) for n in range(threads)]

    def going_on(self) -> contextlib.AbstractContextManager[None]:
        return beside(self._threads, self._over)

    def _upload_until_over(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            content = JPEG + f"{number}-{count}".encode() * 50
            with contextlib.suppress(Exception):  # the connection breaks; what counts is what was acknowledged
                slot = self.appliance.request(len(content))
                if slot.status != 200:
                    self.refusals.add((slot.status, slot.code))
                    continue
                self.appliance.put(slot.json, content)
                done = self.appliance.complete(slot.json)
                if done.status == 200:
                    self.acknowledged[done.json["url"]] = content
                else:
                    self.refusals.add((done.status, done.code))


def test_the_store_is_killed_under_load(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        load = Load(appliance)
        with load.going_on():
            wait_until(lambda: len(load.acknowledged) > 20, what="some uploads")
            for process in store_processes(appliance):
                process.send_signal(signal.SIGKILL)
            wait_until(lambda: (503, "STORAGE_UNAVAILABLE") in load.refusals, what="the API to say that the store is away")
            before = len(load.acknowledged)
            wait_until(lambda: len(load.acknowledged) > before + 20, what="uploads to go on by themselves")
        assert {status for status, _ in load.refusals} <= {503, 422}
        for url, content in load.acknowledged.items():
            assert appliance.read(url).body == content
        assert "Traceback" not in appliance.log()


def test_the_appliance_is_killed_under_load(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        load = Load(appliance)
        with load.going_on():
            wait_until(lambda: len(load.acknowledged) > 20, what="some uploads")
            orphans = store_processes(appliance)
            assert orphans
            appliance.kill()
        appliance.start()
        alive = {process.pid for process in store_processes(appliance)}
        assert alive
        assert not alive & {process.pid for process in orphans}, "the old store process must be gone"
        for url, content in load.acknowledged.items():
            assert appliance.read(url).body == content
        appliance.upload(JPEG)


def test_a_second_one_is_refused_on_the_same_data_and_on_the_same_port(tmp_path: Path) -> None:
    with running(tmp_path / "one") as appliance:
        second = appliance.run("serve", UPLOADKIT_SERVER__PORT=str(free_port()))
        assert second.returncode == 2
        assert "data.dir" in second.stderr
        assert str(appliance.process and appliance.process.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        elsewhere = Appliance(tmp_path / "two", SERVER__PORT=str(appliance.port))
        refused = elsewhere.run("serve")
        assert refused.returncode == 2
        assert f"server.port: can't listen on 127.0.0.1 port {appliance.port}" in refused.stderr
        assert not (elsewhere.data_dir / "store").exists(), "nothing is started for nothing"
        assert appliance.call("GET", "/files").status == 200


@pytest.mark.parametrize("moment", ["after the store put the parts together"])
def test_a_multipart_complete_that_died_on_the_way(tmp_path: Path, moment: str) -> None:
    """The store has finished, the database does not know: repeating complete puts it right."""
    import boto3

    with running(tmp_path) as appliance:
        content = os.urandom(11 * 1024**2)
        body = {"fileName": "b", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
        init = appliance.call("POST", "/upload/multipart/init", body).json
        etags = [
            appliance.fetch("PUT", part["uploadUrl"], content[i * init["partSize"] : (i + 1) * init["partSize"]]).headers["ETag"]
            for i, part in enumerate(init["parts"])
        ]
        secrets = json.loads((appliance.data_dir / "store-credentials.json").read_text())
        endpoint = init["parts"][0]["uploadUrl"].split("/uploads/")[0]
        s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=secrets["access_key_id"],
            aws_secret_access_key=secrets["secret_access_key"],
        )
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        s3.complete_multipart_upload(Bucket="uploads", Key=init["key"], UploadId=init["uploadId"], MultipartUpload={"Parts": parts})
        s3.close()
        ids = {"fileId": init["fileId"], "uploadId": init["uploadId"]}
        assert appliance.call("POST", "/upload/multipart/parts", ids).code == "CONFLICT"
        file = appliance.call("POST", "/upload/multipart/complete", ids)
        assert file.status == 200, file.body
        assert appliance.read(file.json["url"]).body == content
