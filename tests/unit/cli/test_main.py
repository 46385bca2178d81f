"""The command line, as a person and as a script."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, Appliance


@pytest.fixture
def fresh(tmp_path: Path) -> Appliance:
    """An appliance that has never run."""
    return Appliance(tmp_path)


def test_init_shows_the_first_key_once(fresh: Appliance) -> None:
    first = json.loads(fresh.run("init", "--json").stdout)
    assert first["dataDir"] == str(fresh.data_dir)
    assert re.fullmatch(r"uk_live_[A-Za-z0-9_-]{32}", first["apiKey"])
    again = json.loads(fresh.run("init", "--json").stdout)
    assert again == first | {"apiKey": None, "setupUrl": None}
    assert "Nothing was changed" in fresh.run("init").stdout
    database = (fresh.data_dir / "uploadkit.db").read_bytes()
    assert first["apiKey"].encode() not in database


def test_keys(fresh: Appliance) -> None:
    fresh.run("init")
    made = json.loads(fresh.run("keys", "create", "--name", "CI", "--test", "--json").stdout)
    assert made["key"].startswith("uk_test_")
    assert made["maskedKey"] == made["key"][:11] + "..." + made["key"][-6:]
    listed = json.loads(fresh.run("keys", "list", "--json").stdout)
    assert [key["name"] for key in listed] == ["CI", "First key"]
    assert made["key"] not in json.dumps(listed)
    table = fresh.run("keys", "list").stdout
    assert made["id"] in table
    assert made["maskedKey"] in table
    assert fresh.run("keys", "revoke", made["id"]).returncode == 0
    assert [key["name"] for key in json.loads(fresh.run("keys", "list", "--json").stdout)] == ["First key"]
    assert [key["name"] for key in json.loads(fresh.run("keys", "list", "--revoked", "--json").stdout)] == ["CI"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["keys", "create"], 2, "--name"),
        (["keys", "create", "--name", "x", "--project", "nowhere"], 1, "no project 'nowhere'"),
        (["keys", "create", "--name", " "], 1, "1 to 100 characters"),
        (["keys", "create", "--name", "x", "--test", "--access", "account"], 1, "test key"),
        (["keys", "revoke", "nothing"], 1, "keys list"),
        (["--config", "/nowhere.toml", "keys", "list"], 2, "no such configuration file"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_are_one_line(fresh: Appliance, arguments: list[str], status: int, words: str) -> None:
    fresh.run("init")
    done = fresh.run(*arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_last_account_key_can_not_be_revoked(fresh: Appliance) -> None:
    fresh.run("init")
    (key,) = json.loads(fresh.run("keys", "list", "--json").stdout)
    refused = fresh.run("keys", "revoke", key["id"])
    assert refused.returncode == 1
    assert "last key with account access" in refused.stderr


def test_the_tiers_number_of_keys(fresh: Appliance) -> None:
    fresh.environment["UPLOADKIT_TIERS__PRO__MAX_KEYS"] = "2"
    fresh.run("init")
    assert fresh.run("keys", "create", "--name", "two").returncode == 0
    third = fresh.run("keys", "create", "--name", "three")
    assert third.returncode == 1
    assert "allows 2 active keys" in third.stderr


def test_commands_before_the_first_run_say_what_to_do(fresh: Appliance) -> None:
    done = fresh.run("keys", "list")
    assert done.returncode == 2
    assert "init" in done.stderr
    assert not fresh.data_dir.exists()


def test_upload(appliance: Appliance, tmp_path: Path) -> None:
    photo = tmp_path / "ph oto é.jpg"
    photo.write_bytes(JPEG * 10)
    done = appliance.run("upload", str(photo), "--url", appliance.base, UPLOADKIT_API_KEY=appliance.key)
    assert done.returncode == 0, done.stderr
    assert appliance.read(done.stdout.strip()).body == JPEG * 10


def test_projects(fresh: Appliance) -> None:
    fresh.run("init")
    made = json.loads(fresh.run("projects", "create", "Ünïcode & Co", "--json").stdout)
    assert made["slug"] == "unicode-co"
    assert json.loads(fresh.run("projects", "create", "unicode co", "--json").stdout)["slug"] == "unicode-co-2"
    assert [p["slug"] for p in json.loads(fresh.run("projects", "list", "--json").stdout)] == ["default", "unicode-co", "unicode-co-2"]


def test_projects_are_deleted(fresh: Appliance) -> None:
    fresh.run("init")
    made = json.loads(fresh.run("projects", "create", "Spare", "--tier", "free", "--json").stdout)
    assert (made["tier"], made["limits"]["maxKeys"]) == ("free", 2)
    key = json.loads(fresh.run("keys", "create", "--name", "x", "--project", "spare", "--json").stdout)
    asked = fresh.run("projects", "delete", "spare")
    assert asked.returncode == 1
    assert "Go on?" in asked.stdout
    assert json.loads(fresh.run("projects", "delete", "spare", "--yes", "--json").stdout) == {"deleted": True}
    assert [p["slug"] for p in json.loads(fresh.run("projects", "list", "--json").stdout)] == ["default"]
    assert key["id"] not in fresh.run("keys", "list", "--json").stdout
    again = fresh.run("projects", "delete", "spare", "--yes")
    assert again.returncode == 1
    assert "no project 'spare'" in again.stderr
    last = fresh.run("projects", "delete", "default", "--yes")
    assert last.returncode == 1
    assert "last key with account access" in last.stderr
    assert "no tier 'gold'" in fresh.run("projects", "create", "x", "--tier", "gold").stderr


def test_routes(fresh: Appliance) -> None:
    fresh.run("init")
    options = ["--max-file-size", "4MB", "--type", "image/*", "--type", "application/pdf", "--visibility", "private"]
    made = json.loads(fresh.run("routes", "create", "pics", *options, "--max-file-count", "5", "--json").stdout)
    assert (made["maxFileSize"], made["maxFileCount"], made["visibility"]) == (4 * 1024**2, 5, "private")
    assert made["allowedTypes"] == ["image/*", "application/pdf"]
    listed = json.loads(fresh.run("routes", "list", "--json").stdout)
    assert [route["slug"] for route in listed] == ["default", "pics"]
    assert listed[1] == made
    assert "image/* application/pdf" in fresh.run("routes", "list").stdout
    reported = [
        "--webhook-url",
        "https://example.com/",
        "--webhook-event",
        "file.deleted",
        "--webhook-event",
        "file.failed",
        "--max-file-count",
        "7",
    ]
    changed = json.loads(fresh.run("routes", "update", "pics", *reported, "--no-verify-content", "--json").stdout)
    expected = {
        "webhookUrl": "https://example.com/",
        "webhookEvents": ["file.deleted", "file.failed"],
        "maxFileCount": 7,
        "verifyContent": False,
    }
    assert changed == made | expected | {"updatedAt": changed["updatedAt"]}
    anonymous = [
        "--anonymous-uploads",
        "--origin",
        "https://app.example.com",
        "--webhook-url",
        "",
        "--webhook-event",
        "",
        "--max-file-size",
        "",
    ]
    again = json.loads(fresh.run("routes", "update", "pics", *anonymous, "--json").stdout)
    endpoint = f"{fresh.base}/api/uploadkit/p/{made['projectId']}"
    expected = {"anonymousUploads": True, "allowedOrigins": ["https://app.example.com"], "anonymousEndpoint": endpoint}
    expected |= {"webhookUrl": None, "webhookEvents": [], "maxFileSize": None}
    assert again == changed | expected | {"updatedAt": again["updatedAt"]}
    assert fresh.run("routes", "update", "default", "--webhook-url", "https://example.com/").stdout == "Changed file route default.\n"
    for arguments, words in {
        ("create", "pics"): "'pics' already",
        ("update", "nothing", "--max-file-count", "1"): "no file route 'nothing'",
        ("update", "pics", "--webhook-event", "file.moved"): "webhookEvents.0 must be",
        ("update", "pics", "--webhook-url", "http://127.0.0.1/"): "webhookUrl can't be called: 127.0.0.1 is not a public address",
        ("update", "pics", "--type", ""): "allowedTypes must have at least 1 item",
        ("create", "1"): "slug must begin with a letter",
        ("create", "x", "--max-file-size", "big"): 'text such as "4MB"',
        ("create", "x", "--webhook-url", "nowhere"): "webhookUrl must be a URL",
        ("delete", "default"): "every project has one",
        ("delete", "nothing"): "no file route 'nothing'",
    }.items():
        refused = fresh.run("routes", *arguments)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    assert json.loads(fresh.run("routes", "delete", "pics", "--json").stdout) == {"deleted": True}
    assert [route["slug"] for route in json.loads(fresh.run("routes", "list", "--json").stdout)] == ["default"]


def test_a_first_start_that_fails_does_not_lose_the_first_key(fresh: Appliance) -> None:
    with socket.socket() as taken:
        for port in range(20_000, 55_000):
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                break
        taken.listen()
        failed = fresh.run("serve", UPLOADKIT_STORAGE__BUNDLED__PORT=str(port))
    assert failed.returncode == 2
    assert "storage.bundled.port" in failed.stderr
    fresh.start()
    try:
        assert fresh.call("GET", "/files").status == 200
    finally:
        fresh.stop()


@pytest.mark.parametrize("damage", ["noise", "directory", "other", "lock"])
def test_a_data_directory_that_can_not_be_used_is_one_line(fresh: Appliance, damage: str) -> None:
    fresh.data_dir.mkdir(mode=0o700)
    database = fresh.data_dir / "uploadkit.db"
    if damage == "noise":
        database.write_bytes(b"noise" * 5000)
    elif damage == "directory":
        database.mkdir()
    elif damage == "other":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE project (x)")
    else:
        (fresh.data_dir / "lock").mkdir()
    refused = fresh.run("serve")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert refused.stderr.startswith("error: data.dir" if damage == "lock" else "error: database.path")
