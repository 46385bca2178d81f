"""The one executable file gives way to another one, and comes back: whatever is killed in between, a whole program has the name.

`make dist` makes such files (docs/deploy.md). What runs is what was unpacked from one of them, so the file itself may be renamed meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from uploadkit.core import file_locks, packaged_files
from uploadkit.core.durable_files import give_second_name, put_in_place, sync
from uploadkit.core.errors import ConfigError
from uploadkit.core.sizes import MIB

BEFORE, NEWER = ".before", ".newer"
"""What the name of the program gets for the one that it replaced, and for the one that a way back replaced."""

_SUMS = "SHA256SUMS"
_MOST_BYTES = 1024 * MIB
_BEGINS = b"#!/bin/sh\n"
ANSWER_SECONDS = 300.0
"""For a program to unpack itself and say what it is: seconds on an idle machine."""
_ANSWER_BYTES = 4096
# Whatever it is, it gets none of the secrets that the environment may have.
_ITS_ENVIRONMENT = ("HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class Program:
    """What a program says of itself: `schema` is the newest schema of a database that it can use."""

    version: str
    schema: int


@contextmanager
def replaceable(*, back: bool = False) -> Iterator[Path]:
    """Yield the file that this runs from, as the only process that replaces it. Raises ConfigError.

    Going `back` may be the earlier program's work as well, where the newer one does not even start: it stands for the file beside it.
    """
    if packaged_files.EXECUTABLE is None:
        way = (
            "this runs from a checkout, which 'git pull' and 'make setup' upgrade"
            if packaged_files.CHECKOUT
            else "this was installed from a wheel, and 'pip install' with the new one upgrades it"
        )
        raise ConfigError(f"upgrade: is for the one executable file; {way} (docs/deploy.md)")
    path = packaged_files.EXECUTABLE.resolve()
    if back and path.name.endswith(BEFORE):
        path = path.with_name(path.name.removesuffix(BEFORE))
    try:
        with path.open("rb") as file:
            if not file_locks.take(file) or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise ConfigError(f"upgrade: another process is replacing {path}; wait for its end")
            yield path
    except OSError as error:
        raise ConfigError(f"upgrade: {error.filename or path.parent}: {error.strerror}; nothing else was changed") from None


def staged(source: Path, path: Path) -> Path:
    """Copy the program `source` beside `path`, which it shall replace, and return the copy, whose bytes were checked. Raises ConfigError.

    It must be a file of ours or root's that others can't write, what `SHA256SUMS` beside it says if there is one, and not the present one.
    """
    copy = path.with_name(f".{path.name}.new")
    copy.unlink(missing_ok=True)
    with _opened(source) as content:
        if os.path.samestat(os.fstat(content.fileno()), path.stat()):
            raise ConfigError(f"upgrade: {source} is the file that runs; name the new one")
        digest = hashlib.sha256()
        try:
            with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
                while (piece := content.read(MIB)) and written.tell() < _MOST_BYTES:
                    digest.update(piece)
                    written.write(piece)
            _check_sum(source, digest.hexdigest())
            with path.open("rb") as present:
                if hashlib.file_digest(present, "sha256").digest() == digest.digest():
                    raise ConfigError(f"upgrade: {source} has the same bytes as {path}: there is nothing to upgrade")
            copy.chmod(0o755)
            sync(copy)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
    return copy


def earlier(path: Path) -> Path:
    """Return the program that `path` has replaced. Raises ConfigError when there is none that can be trusted."""
    before = path.with_name(path.name + BEFORE)
    if not before.exists():
        raise ConfigError(f"upgrade: {before} is not there: there is nothing to go back to")
    with _opened(before) as file:
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise ConfigError(
                f"upgrade: {before} and {path} are the same file: an upgrade was interrupted, and the program is the earlier one"
            )
    return before


def ask(path: Path, called: Path) -> Program:
    """Start the program at `path`, which the caller knows as `called`, to hear what it is.

    Raises ConfigError when it is none, or does not answer in time.
    """
    status, text, complaint = _answer(path, called, "--version")
    if status:
        raise ConfigError(f"upgrade: {called} does not run here: {complaint.strip()[:300] or f'exit code {status}'}")
    version = re.fullmatch(r"uploadkit, version ([0-9A-Za-z.+-]{1,64})\n", text)
    if version is None:
        raise ConfigError(f"upgrade: {called} does not answer --version as UploadKit does")
    status, text, _ = _answer(path, called, "upgrade", "--schema")
    schema = re.fullmatch(r"([0-9]{1,6})\n", text)
    if status or schema is None:
        raise ConfigError(f"upgrade: {called} is UploadKit {version[1]}, which is too old to be asked for its schema")
    return Program(version[1], int(schema[1]))


def swap(copy: Path, path: Path) -> None:
    """Give `copy` the name `path`; what had it stays as `<name>.before`. A kill leaves the one or the other."""
    give_second_name(path, path.with_name(path.name + BEFORE))
    put_in_place(copy, path)


def swap_back(path: Path) -> None:
    """Give `<name>.before` the name `path` again; what had it stays as `<name>.newer`. A kill leaves the one or the other."""
    give_second_name(path, path.with_name(path.name + NEWER))
    put_in_place(path.with_name(path.name + BEFORE), path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "is a symbolic link; name the file itself" if path.is_symlink() else f"can't be read: {error.strerror}"
        raise ConfigError(f"upgrade: {path} {why}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ConfigError(f"upgrade: {path} is no file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"upgrade: {path} belongs to another user, who can change it; take a copy of your own, and check that")
        if status.st_mode & stat.S_IWOTH:
            raise ConfigError(f"upgrade: {path} can be written by everybody; check it, and take that away (chmod o-w)")
        if status.st_size > _MOST_BYTES or file.read(len(_BEGINS)) != _BEGINS:
            raise ConfigError(f"upgrade: {path} is no executable file of UploadKit")
        file.seek(0)
        yield file


def _check_sum(source: Path, digest: str) -> None:
    sums = source.absolute().with_name(_SUMS)
    if not sums.is_file():
        return
    with sums.open("rb") as file:
        lines = [line.split(maxsplit=1) for line in file.read(MIB).decode("utf-8", "replace").splitlines()]
    known = {line[1].removeprefix("*"): line[0].lower() for line in lines if len(line) == 2}
    # One that was renamed is known by its bytes.
    if digest not in ([known[source.name]] if source.name in known else known.values()):
        raise ConfigError(f"upgrade: {source} is not what {sums} says (its SHA-256 is {digest}); get it again")


def _answer(path: Path, called: Path, *arguments: str) -> tuple[int, str, str]:
    """Return the program's exit code and what it says to standard output and error; it has a session of its own that ends with it."""
    environment = {name: os.environ[name] for name in _ITS_ENVIRONMENT if name in os.environ}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complained:
        try:
            process = subprocess.Popen(
                [path, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=complained, env=environment, start_new_session=True
            )
        except OSError as error:
            raise ConfigError(f"upgrade: {called} can't be started: {error.strerror}") from None
        try:
            status = process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"upgrade: {called} did not answer within {ANSWER_SECONDS:g} seconds") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return status, _beginning(output), _beginning(complained)


def _beginning(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_ANSWER_BYTES).decode("utf-8", "replace")
