"""One value in somebody's config.toml is changed; the rest is theirs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.appliance import ROOT
from uploadkit.config.edit import set_storage_mode, with_storage_mode
from uploadkit.core.errors import ConfigError


def test_the_reference_file_differs_in_one_word() -> None:
    text = (ROOT / "config.toml").read_text()
    changed = with_storage_mode(text, "byos")
    different = [(old, new) for old, new in zip(text.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert [(old.replace('mode = "bundled"', 'mode = "byos"'), new) for old, new in different] == [(different[0][1],) * 2]
    assert with_storage_mode(changed, "bundled") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[server]\nport = 1\n",
        "[storage]\n",
        "[storage]\n[storage.byos]\nbucket = 'b'\n",
        "[storage] # where\n  mode='bundled' # which\n\n[data]\ndir = 'x'\n",
        '[storage.byos]\nmode_of_mine = "x"\n[storage]\npublic_url = ""\n',
        '[server]\nmode = "bundled"\n[storage]\nmode = "bundled"\n',
        "[storage]",
        'storage = { mode = "bundled" }\n',
        "storage.mode = 'bundled'\n",
        "[storage]\n# what it is\n\n# the bucket\n[storage.byos]\nbucket = 'b' # mine\n\n# the port\n[server]\nport = 1\n",
        "[server]\nport = 1\n[storage.byos]\nbucket = 'b'\n[data]\ndir = 'x'\n[storage.bundled]\ndisk_limit = '1GB'\n",
        "[storage]\r\nmode = 'bundled' # which\r\n",
    ],
)
def test_every_shape_of_file_keeps_its_lines_and_comments(text: str) -> None:
    changed = with_storage_mode(text, "byos")
    before, after = tomllib.loads(text), tomllib.loads(changed)
    assert after["storage"].pop("mode") == "byos"
    before.get("storage", {}).pop("mode", None)
    assert (before | {"storage": before.get("storage", {})}) == after
    lines, kept = text.splitlines(), changed.splitlines()
    assert [line for line in lines if line not in kept and "mode" not in line] == []
    assert [line.partition("#")[2] for line in kept if "#" in line] == [line.partition("#")[2] for line in lines if "#" in line]


def test_a_mark_at_the_beginning_stays() -> None:
    """Windows' editors write a byte order mark, which `load` reads over."""
    assert with_storage_mode('\ufeff[storage]\nmode = "bundled"\n', "byos") == '\ufeff[storage]\nmode = "byos"\n'


@pytest.mark.parametrize("text", ["storage = 1", "[[storage]]\nmode = 'bundled'\n", "[storage\n"])
def test_what_holds_no_table_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(ConfigError, match="set it to 'byos' yourself"):
        with_storage_mode(text, "byos")


def test_the_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[storage]\nmode = "bundled"\n')
    path.chmod(0o640)
    set_storage_mode(path, "byos")
    assert path.read_text() == '[storage]\nmode = "byos"\n'
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set storage\.mode to 'byos' yourself"):
        set_storage_mode(tmp_path / "config.toml", "byos")
