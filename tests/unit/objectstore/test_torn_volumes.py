"""A volume whose end is torn is whole again before weed starts, which else would never write to it, delete from it or vacuum it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, running, wait_until
from uploadkit.objectstore.bundled.torn_volumes import cut_off_torn_ends

ENTRY = 17
GIVEN_UP = "volumeDataIntegrityChecking failed"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an appliance that was stopped in peace after some uploads and deletions."""
    home = tmp_path_factory.mktemp("whole")
    with running(home, HOUSEKEEPING__INTERVAL_SECONDS="1") as appliance:
        files = [appliance.upload(JPEG * (100 + number)) for number in range(4)]
        before = len(index_of(home / "data"))
        appliance.call("DELETE", f"/files/{files[0]['key']}")
        wait_until(lambda: len(index_of(home / "data")) > before, what="the deletion in the volume")
        appliance.stop()
    return home


def volume_of(data: Path) -> Path:
    return next((data / "store" / "seaweedfs").glob("uploads_*.dat"))


def index_of(data: Path) -> bytes:
    return volume_of(data).with_suffix(".idx").read_bytes()


@pytest.fixture
def volume(whole: Path, tmp_path: Path) -> Path:
    """A copy of its volume."""
    source = volume_of(whole / "data")
    shutil.copy(source.with_suffix(".idx"), tmp_path)
    return Path(shutil.copy(source, tmp_path))


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_whole_volume_is_left_as_it_is(volume: Path) -> None:
    content, index = volume.read_bytes(), volume.with_suffix(".idx").read_bytes()
    assert cut_off_torn_ends(volume.parent) == []
    assert (volume.read_bytes(), volume.with_suffix(".idx").read_bytes()) == (content, index)


@pytest.mark.parametrize("torn", ["needle without entry", "zeros in both", "entry without needle", "half an entry", "zeros for a needle"])
def test_a_torn_end_is_cut_off_and_laid_aside(volume: Path, torn: str) -> None:
    content, index = volume.read_bytes(), volume.with_suffix(".idx").read_bytes()
    last = index[-ENTRY:]
    if torn == "needle without entry":
        add(volume, b"a needle, or half of one")
    elif torn == "zeros in both":
        add(volume, bytes(5000))
        add(volume.with_suffix(".idx"), bytes(3 * ENTRY + 5))
    elif torn == "entry without needle":
        add(volume.with_suffix(".idx"), last[:8] + (len(content) // 8).to_bytes(4) + b"\0" + (4096).to_bytes(4))
    elif torn == "half an entry":
        add(volume.with_suffix(".idx"), last[:9])
    else:
        add(volume, bytes(4200))
        add(volume.with_suffix(".idx"), last[:8] + (len(content) // 8).to_bytes(4) + b"\0" + (4096).to_bytes(4))
    added = volume.read_bytes()[len(content) :]
    assert cut_off_torn_ends(volume.parent) == [volume]
    assert volume.read_bytes() == content
    assert volume.with_suffix(".idx").read_bytes() == index
    aside = [path.read_bytes() for path in volume.parent.glob("*.torn")]
    assert aside == ([added] if added else [])
    assert cut_off_torn_ends(volume.parent) == []


@pytest.mark.parametrize("strange", ["another version", "no index", "an index of something else", "an index of before a vacuum", "empty"])
def test_what_does_not_look_like_a_volume_is_left_as_it_is(volume: Path, strange: str) -> None:
    index = volume.with_suffix(".idx")
    if strange == "another version":
        volume.write_bytes(b"\x02" + volume.read_bytes()[1:] + b"more")
    elif strange == "no index":
        index.write_bytes(b"")
    elif strange == "an index of something else":
        index.write_bytes(b"\x07" * 10 * ENTRY)
    elif strange == "an index of before a vacuum":
        first, last = index.read_bytes()[:ENTRY], index.read_bytes()[-ENTRY:]
        index.write_bytes(b"\0" * 7 + b"\x99" + first[8:] + last)
        add(volume, b"more")
    else:
        volume.write_bytes(b"")
    before = (volume.read_bytes(), index.read_bytes())
    assert cut_off_torn_ends(volume.parent) == []
    assert (volume.read_bytes(), index.read_bytes()) == before


@pytest.mark.parametrize("left", [[".cpx"], [".cpc", ".cpx"], [".cpc"]])
def test_a_volume_that_a_vacuum_was_just_replacing_is_left_to_weed(volume: Path, left: list[str]) -> None:
    """Its index is still that of before, and fits the new volume up to the first file that was deleted: the others are not torn off."""
    content, index = volume.read_bytes(), volume.with_suffix(".idx").read_bytes()
    for suffix in left:
        volume.with_suffix(suffix).write_bytes(index if suffix == ".cpx" else b"")
    places = [index[at : at + 8] + (int.from_bytes(index[at + 8 : at + 12]) + 1).to_bytes(4) + index[at + 12 : at + ENTRY] for at in
              range(ENTRY, len(index), ENTRY)]  # fmt: skip
    of_before = index[:ENTRY] + b"".join(places)
    volume.with_suffix(".idx").write_bytes(of_before)
    assert cut_off_torn_ends(volume.parent) == []
    assert (volume.read_bytes(), volume.with_suffix(".idx").read_bytes()) == (content, of_before)


def test_a_copy_that_a_vacuum_had_not_finished_keeps_no_torn_end(volume: Path) -> None:
    content = volume.read_bytes()
    add(volume, b"half a needle")
    for suffix in (".cpd", ".cpx"):
        volume.with_suffix(suffix).write_bytes(b"begun")
    assert cut_off_torn_ends(volume.parent) == [volume]
    assert volume.read_bytes() == content


def test_weed_writes_to_a_volume_that_was_torn(whole: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(whole, home, ignore=shutil.ignore_patterns("*.sock"))
    (home / "data" / "store.log").unlink()
    for volume in (home / "data" / "store" / "seaweedfs").glob("uploads_*.dat"):
        add(volume, b"half a needle")
    with running(home) as appliance:
        for file in appliance.call("GET", "/files").json["items"]:
            assert appliance.read(file["url"]).status == 200
        assert len(appliance.call("GET", "/files").json["items"]) == 3
        assert GIVEN_UP not in (home / "data" / "store.log").read_text()
        assert "was torn" in appliance.log()
