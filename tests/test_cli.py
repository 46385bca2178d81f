"""The command line, as a person and as a script (operations.md)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.appliance import JPEG, Appliance


@pytest.fixture
def fresh(tmp_path: Path) -> Appliance:
    """An appliance that has never run."""
    return Appliance(tmp_path)


def test_init_shows_the_first_key_once(fresh: Appliance) -> None:
    first = json.loads(fresh.run("init", "--json").stdout)
    assert first["dataDir"] == str(fresh.data_dir)
    assert re.fullmatch(r"uk_live_[A-Za-z0-9_-]{32}", first["apiKey"])
    again = json.loads(fresh.run("init", "--json").stdout)
    assert again == first | {"apiKey": None}
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
