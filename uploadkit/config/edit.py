"""Changing one value in `config.toml`, with its comments and everything else left as they are."""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from uploadkit.core.durable_files import put_in_place
from uploadkit.core.errors import ConfigError


def set_storage_mode(path: Path, mode: str) -> None:
    """Set `storage.mode` in the file at `path`, in one step. Raises ConfigError when that can't be done; then nothing was changed."""
    try:
        path = path.resolve()
        present = path.stat()
        with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            changed = with_storage_mode(file.read(), mode)
        temporary = path.with_name(f".{path.name}.new")
        temporary.touch(mode=0o600)
        with suppress(PermissionError):
            os.chown(temporary, present.st_uid, present.st_gid)
        temporary.chmod(present.st_mode & 0o777)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(changed)
        put_in_place(temporary, path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be changed ({error.strerror}); set storage.mode to {mode!r} yourself") from None


def with_storage_mode(text: str, mode: str) -> str:
    """Return a configuration file's text with another `storage.mode`. Pure. Raises ConfigError when the text is too unusual for that."""
    bom = text[: len(text) - len(text.removeprefix("\ufeff"))]  # left by some editors on Windows
    try:
        document = tomlkit.parse(text.removeprefix(bom))
        wanted = document.unwrap()
        for tables in (document, wanted):
            tables.setdefault("storage", {})["mode"] = mode
        changed = tomlkit.dumps(document)
        if tomllib.loads(changed) == wanted:
            return bom + changed
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError):
        pass
    raise ConfigError(f"storage.mode: this file can't be changed by a program; set it to {mode!r} yourself")
