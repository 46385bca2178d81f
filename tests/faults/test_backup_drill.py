"""The drill: backups under load, killed in the middle, then put back elsewhere and held against what had been acknowledged.

The suite runs it for some seconds; `make drill` for five minutes (DRILL_SECONDS says how long).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.dashboard.visitors import Visitor, new_admin
from tests.support.appliance import JPEG, Appliance, running, started
from tests.support.load import Load
from tests.support.stores import OtherStore, byos_settings, started_store

SECONDS = int(os.environ.get("DRILL_SECONDS", "8"))
SETTINGS = {
    "STORAGE__PRESIGN_EXPIRES_SECONDS": "10",
    "HOUSEKEEPING__ABANDONED_UPLOAD_SECONDS": "1",
    "HOUSEKEEPING__INTERVAL_SECONDS": "1",
    "STORAGE__BUNDLED__MAX_DISK_BYTES": "10GB",
}


def backup_settings(other: OtherStore, tmp_path: Path) -> dict[str, str]:
    """Backups in a bucket, encrypted."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    return {
        "BACKUP__TO": f"s3://{other.address.bucket}/one/two",
        "BACKUP__KEEP": "2",
        "BACKUP__PASSPHRASE_FILE": str(passphrase),
        "BACKUP__S3__ENDPOINT": other.address.endpoint,
        "BACKUP__S3__REGION": other.address.region,
        "BACKUP__S3__ACCESS_KEY_ID": other.address.access_key_id,
        "BACKUP__S3__SECRET_ACCESS_KEY": other.address.secret_access_key,
    }


def killed_in_the_middle(appliance: Appliance, after_seconds: float) -> bool:
    """Begin a backup and kill it; say whether it was still at work."""
    backup = subprocess.Popen(
        [*appliance.program, "backup", "create"],
        env=appliance.environment,
        cwd=appliance.home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        backup.wait(after_seconds)
    except subprocess.TimeoutExpired:
        backup.kill()
        backup.wait()
        return True
    return False


def existing_files(appliance: Appliance) -> dict[str, str]:
    """Every UPLOADED file that the API lists, by id, with the digest of what its URL answers."""
    found, cursor = {}, ""
    while cursor is not None:
        page = appliance.call("GET", f"/files?limit=100&status=UPLOADED{cursor and '&cursor=' + cursor}").json
        for file in page["items"]:
            answer = appliance.read(file["url"])
            assert answer.status == 200, (file, answer.status)
            found[file["id"]] = hashlib.sha256(answer.body).hexdigest()
        cursor = page["nextCursor"]
    return found


@pytest.mark.timeout(SECONDS + 600)
def test_load_backup_kill_restore_compare(tmp_path: Path) -> None:
    chance = random.Random(SECONDS)
    with started_store(tmp_path / "other") as other:
        settings = SETTINGS | backup_settings(other, tmp_path)
        with running(tmp_path / "first", **settings) as appliance:
            admin = new_admin(appliance)
            secrets = appliance.run("webhooks", "secrets").stdout
            link = appliance.call("POST", f"/files/{appliance.upload(JPEG * 9)['key']}/link", {"expiresIn": 3600}).json["url"]
            load = Load(appliance, with_parts=SECONDS > 60)
            with load.going_on():
                until, kills = time.monotonic() + SECONDS, 0
                while time.monotonic() < until:
                    kills += killed_in_the_middle(appliance, chance.uniform(0.5, 3))
                before = dict(load.facts.uploaded)
                gone = set(load.facts.perhaps_deleted)
                made = appliance.run("backup", "create", "--json")
                assert made.returncode == 0, made.stderr
            assert kills > 0
            assert load.wrong == []
            backup = json.loads(made.stdout)
            after = set(load.facts.perhaps_deleted)
            kept = appliance.upload()
            assert appliance.call("DELETE", f"/files/{kept['key']}").status == 200
            newest = appliance.call("GET", "/events?after=0&limit=100").json
            while newest["hasMore"]:
                newest = appliance.call("GET", f"/events?after={newest['nextAfter']}&limit=100").json
            met = newest["nextAfter"]
            made_later = appliance.new_key()
        elsewhere = Appliance(tmp_path / "second", **(settings | byos_settings(other.bucket("restored").address)))
        verified = elsewhere.run("backup", "verify", "--json")
        assert json.loads(verified.stdout)["ok"], verified.stdout
        restored = elsewhere.run("backup", "restore", "--newer-database", str(appliance.data_dir / "uploadkit.db"))
        assert restored.returncode == 0, restored.stderr + restored.stdout
        elsewhere.key = appliance.key
        with started(elsewhere):
            found = existing_files(elsewhere)
            assert len(found) == backup["files"]
            for file_id, (_, digest, _) in before.items():
                if file_id not in after:
                    assert found[file_id] == digest, f"{file_id} is lost or changed"
            assert gone <= after
            for command in (["reconcile"], ["usage", "verify"]):
                agrees = elsewhere.run(*command)
                assert agrees.returncode == 0, agrees.stdout
            assert elsewhere.run("webhooks", "secrets").stdout == secrets
            assert elsewhere.call("GET", "/usage", key=made_later).status == 401, "it was made after the backup"
            new = elsewhere.upload()
            feed = elsewhere.call("GET", f"/events?after={met}&limit=100").json
            assert not feed["gap"]
            assert all(event["sequence"] > met for event in feed["items"])
            assert new["id"] in {event["file"]["id"] for event in feed["items"]}
            assert elsewhere.read(link.replace(appliance.base, elsewhere.base)).body == JPEG * 9
            visitor = Visitor(elsewhere)
            visitor.cookies[visitor.cookie("session")] = admin.cookies[admin.cookie("session")]
            assert b'type="password"' in visitor.get("/dashboard/projects").body, "nobody is signed in any more"
            assert visitor.sign_in().status == 200
            assert b"Projects</h1>" in visitor.get("/dashboard/projects").body
            assert "Traceback" not in elsewhere.log()
    print(f"\n{SECONDS} s, {kills} backups killed; {backup['files']} files in the backup, {len(before)} acknowledged before it, all there")
