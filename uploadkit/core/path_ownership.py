"""Who else on this machine could put other files in the place of ours: whoever may rename something on the way to them."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path


def who_may_replace(directory: Path) -> str | None:
    """Say who beside us and root may put another folder in the place of `directory`, or other files into it; None when nobody may.

    A file may be named as well. Looks at it and all folders above it, as it is named and where symbolic links lead. Group permissions are
    the owner's affair.
    """
    named = Path(os.path.abspath(directory))  # not resolved: a link in it is looked at itself
    for path in dict.fromkeys((named, *named.parents, *_with_parents(directory.resolve()))):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if status.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to {_name(status.st_uid)}"
        is_bound = stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX)
        if status.st_mode & stat.S_IWOTH and not is_bound:
            return f"{path} can be written by everybody"
    return None


def is_foreign(directory: Path) -> bool:
    """Say whether a folder belongs to somebody else than us and root."""
    return directory.stat().st_uid not in (0, os.geteuid())


def make_private(path: Path) -> None:
    """Take a file of ours out of everybody else's reach: one that was copied may have any mode. If there is none, that is fine."""
    with suppress(OSError):  # somebody else's, or on a file system without modes
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)


def _with_parents(path: Path) -> list[Path]:
    return [path, *path.parents]


def _name(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user number {uid}"
