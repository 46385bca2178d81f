"""SIGKILL while a deleted project is taken away: the next start goes on, until nothing is left of it in store and database."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tests.support.appliance import JPEG, Appliance, running, wait_until

FILES = 60


def count(appliance: Appliance, condition: str, project: str) -> int:
    """How many file rows of a project meet `condition`, read beside the running appliance."""
    with closing(sqlite3.connect(f"file:{appliance.data_dir / 'uploadkit.db'}?mode=ro", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM file WHERE project_id = ? AND {condition}", (project,)).fetchone()[0])


def stored_keys(appliance: Appliance) -> set[str]:
    import boto3

    secrets = json.loads((appliance.data_dir / "store-credentials.json").read_text())
    slot = appliance.request(5).json
    s3 = boto3.client(
        "s3",
        endpoint_url=slot["uploadUrl"].split("/uploads/")[0],
        region_name="us-east-1",
        aws_access_key_id=secrets["access_key_id"],
        aws_secret_access_key=secrets["secret_access_key"],
    )
    keys = {item["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="uploads") for item in page.get("Contents", [])}
    s3.close()
    return keys


def test_a_project_goes_although_the_appliance_is_killed_again_and_again(tmp_path: Path) -> None:
    with running(
        tmp_path,
        STORAGE__PRESIGN_EXPIRES_SECONDS="20",
        HOUSEKEEPING__ABANDONED_UPLOAD_SECONDS="1",
        HOUSEKEEPING__INTERVAL_SECONDS="1",
        TIERS__PRO__REQUESTS_PER_MINUTE="",
    ) as appliance:
        project = appliance.call("POST", "/projects", {"name": "Doomed"}).json["id"]
        key = appliance.call("POST", f"/projects/{project}/keys", {"name": "x"}).json["key"]
        kept = appliance.upload(JPEG)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: appliance.upload(JPEG, f"{n}.jpg", key=key), range(FILES)))
        assert stored_keys(appliance) >= {file["key"] for file in made}
        assert appliance.call("DELETE", f"/projects/{project}").status == 200
        appliance.kill()
        assert count(appliance, "1", project) == FILES
        appliance.start()
        assert appliance.call("GET", "/files", key=key).status == 401
        wait_until(lambda: count(appliance, "status = 'DELETED' AND sweep_at <> deleted_at", project), what="some objects to be swept")
        appliance.kill()
        appliance.start()
        wait_until(lambda: count(appliance, "1", project) == 0, what="all file rows to go")
        keys = stored_keys(appliance)
        assert not {name for name in keys if project in name}
        assert kept["key"] in keys
        assert appliance.read(kept["url"]).body == JPEG
        assert "Traceback" not in appliance.log()
