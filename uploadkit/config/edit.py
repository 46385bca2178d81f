"""Changing one value in `config.toml`, with its comments and everything else left as they are."""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path

from uploadkit.core.durable_files import put_in_place
from uploadkit.core.errors import ConfigError

_STORAGE = re.compile(r"(?m)^[ \t]*\[storage\][^\n]*\n")
_NEXT_TABLE = re.compile(r"(?m)^[ \t]*\[")
_MODE = re.compile(r"(?m)^([ \t]*mode[ \t]*=[ \t]*)(?:\"[^\"\n]*\"|'[^'\n]*')")


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
    header = _STORAGE.search(text)
    if header is None:
        changed = f'{text.rstrip()}\n\n[storage]\nmode = "{mode}"\n'
    else:
        following = _NEXT_TABLE.search(text, header.end())
        table = text[header.end() : following.start() if following else len(text)]
        replaced, count = _MODE.subn(rf'\g<1>"{mode}"', table, count=1)
        replaced = replaced if count else f'mode = "{mode}"\n{table}'
        changed = text[: header.end()] + replaced + text[header.end() + len(table) :]
    try:
        if tomllib.loads(changed)["storage"]["mode"] == mode:
            return changed
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        pass
    raise ConfigError(f"storage.mode: this file can't be changed by a program; set it to {mode!r} yourself")
