"""What the doctor says of each provider, what `--fix` sets there, and what it says of what people get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.providers import profiles
from tests.providers.playing import Stage, on_stage
from tests.providers.profiles import Profile
from tests.support.appliance import Appliance
from uploadkit.objectstore import doctor
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.store import ObjectStore

Behind = Callable[[str], StoreAddress]
# What is no "ok" once `--fix` has run.
ALWAYS = {"upload-credentials": "skipped", "public-url": "skipped"}
AFTER_FIX = {"b2": {"delete": "warning"}, "minio": {"cors-rule": "skipped"}}


def findings(stage: Stage, address: StoreAddress, *, fix: bool = False, store: ObjectStore | None = None) -> dict[str, Finding]:
    expected = Expectations.of(stage.configured())
    return {finding.name: finding for finding in doctor.examine(store or ObjectStore(address), expected, fix=fix)}


def not_ok(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.outcome for name, finding in found.items() if finding.outcome != "ok"}


@contextmanager
def alone(profile: Profile, behind: Behind, home: Path, patched: pytest.MonkeyPatch) -> Iterator[tuple[Stage, StoreAddress]]:
    with on_stage(profile, behind(f"doctor-{uuid4().hex}"), home) as stage:
        yield stage, stage.address(patched)


def test_a_new_bucket_is_put_in_order_and_stays_so(stage: Stage, address: StoreAddress) -> None:
    name, store = stage.profile.name, ObjectStore(address)
    expected = ALWAYS | AFTER_FIX.get(name, {})
    found = findings(stage, address, fix=True, store=store)
    assert not_ok(found) == expected, [finding for finding in found.values() if finding.outcome == "failed"]
    assert not_ok(findings(stage, address, store=store)) == expected
    assert stage.played.lifecycle.count(b"<Rule>") == {"r2": 4, "minio": 2}.get(name, 3), "rules of others stay"
    assert (b"uploadkit-multiparts" in stage.played.lifecycle) == (name != "minio")
    assert bool(stage.played.cors_document) == (name != "minio")
    assert not any(status == 429 for _, _, status in stage.played.asked), "no key is written twice in a second"
    assert ("after 7 (rule 'Default Multipart Abort Rule'" in found["lifecycle"].detail) == (name == "r2")
    assert ObjectStore(address).ask("list_objects_v2").get("Contents", []) == [], "nothing is left"


def test_the_daily_look_gets_its_answer(stage: Stage, address: StoreAddress) -> None:
    found = doctor.safety(ObjectStore(address), Expectations.of(stage.configured()), seconds=30)
    assert (found.unanswered, found.has_answered) == ("", True)
    assert found.findings == []


def test_the_command_says_the_same(behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(profiles.R2, behind, tmp_path, monkeypatch) as (stage, _):
        ran = Appliance(tmp_path / "home", stage.surroundings, **stage.settings()).run("doctor", "--fix")
        assert (ran.returncode, "Bucket my-upload-bucket is in order." in ran.stdout) == (0, True), ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["r2", "aws", "b2"])
def test_a_key_that_is_not_known(name: str, behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(profiles.ALL[name], behind, tmp_path, monkeypatch) as (stage, address):
        found = findings(stage, replace(address, access_key_id="NOBODY"))
        assert (found["bucket"].outcome, found["put"].outcome) == ("failed", "skipped")
        assert found["bucket"].suggestion == "storage.byos.access_key_id: the store does not know it"
        found = findings(stage, replace(address, secret_access_key="of somebody else"))
        assert found["bucket"].suggestion.startswith("storage.byos.secret_access_key: it does not belong to that access key id")


@pytest.mark.parametrize("name", ["aws", "b2", "wasabi"])
def test_a_region_that_is_not_the_buckets(name: str, behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(profiles.ALL[name], behind, tmp_path, monkeypatch) as (stage, address):
        found = findings(stage, replace(address, region="eu-west-9"))
        assert (found["bucket"].outcome, found["bucket"].suggestion[:20]) == ("failed", "storage.byos.region ")


def test_a_clock_that_is_wrong(behind: Behind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(profiles.AWS, behind, tmp_path, monkeypatch) as (stage, address):
        stage.played.clock_offset_seconds = 20 * 60
        found = findings(stage, address)
        assert (found["clock"].outcome, found["bucket"].outcome) == ("failed", "failed")
        assert "NTP" in found["bucket"].suggestion
