"""The command `upload FILE…`: a client over HTTP, with progress bars on a terminal and URLs on standard output.

Reads the API key from the environment only: an option would show it to every user of the machine. Knows nothing of the server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from uploadkit.cli.terminal import tell
from uploadkit.client import MULTIPART_OVER_BYTES, Client, UploadedFile, UploadKitClientError, UploadKitStorageError, default_resume_store
from uploadkit.client.source import MAX_STREAM_BYTES

KEY_VARIABLE, URL_VARIABLE = "UPLOADKIT_API_KEY", "UPLOADKIT_URL"
STDIN = "-"
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


@click.command("upload")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--route", default="default", show_default=True, metavar="SLUG", help="File route to upload to.")
@click.option(
    "--name", "file_name", metavar="NAME", help="Name of the one FILE at the appliance; that of standard input is 'stdin' without."
)
@click.option("--type", "content_type", metavar="TYPE", help="Media type of the files, such as image/heic; without it, by each name.")
@click.option("--metadata", "pairs", multiple=True, metavar="KEY=VALUE", help="Metadata of the files; may be repeated.")
@click.option(
    "--url",
    "base_url",
    default="http://127.0.0.1:8080",
    envvar=URL_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Address of the appliance.",
)
@click.option(
    "--max-stream-bytes",
    type=click.IntRange(min=1),
    default=MAX_STREAM_BYTES,
    show_default=True,
    metavar="BYTES",
    help="The most that is taken from standard input. It goes through a temporary file (in TMPDIR), because an upload declares its size.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each file as one line of JSON instead of its URL.")
@click.pass_context
def upload(
    context: click.Context,
    files: tuple[str, ...],
    route: str,
    file_name: str | None,
    content_type: str | None,
    pairs: tuple[str, ...],
    base_url: str,
    max_stream_bytes: int,
    as_json: bool,
) -> None:
    """Upload FILEs and print their URLs, one a line. The FILE - is standard input; its --name says what it is.

    The API key is read from the environment variable UPLOADKIT_API_KEY. Files over 10 MiB go up in parts; after Ctrl-C, a crash or a
    lost connection the same command goes on where it stopped.
    """
    if file_name is not None and len(files) > 1:
        raise click.BadParameter("is for one FILE; name each in a command of its own", param_hint="--name")
    if files.count(STDIN) > 1:
        raise click.BadParameter("standard input can be read once only", param_hint=STDIN)
    how = _How(route, file_name, content_type, dict(_parse_pair(pair) for pair in pairs), _usable_resume_store(), max_stream_bytes)
    client = _client(context, base_url)
    failed = False
    for name in files:
        try:
            file = _upload_one(client, name, how)
        except UploadKitClientError as error:
            failed = True
            tell(_error_line(name, error), err=True)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not turn the way out into a traceback
            tell(_interrupted_line(name, how.resume_store), err=True)
            context.exit(EXIT_INTERRUPTED)
        else:
            tell(json.dumps(dict(file.raw)) if as_json else printable(file.url))
    context.exit(EXIT_FAILED if failed else 0)


def printable(text: str) -> str:
    """Return `text` on one line and safe for a terminal: control characters and undecodable bytes are escaped."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _parse_pair(pair: str) -> tuple[str, str]:
    key, separator, value = pair.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{printable(pair)!r} is not KEY=VALUE", param_hint="--metadata")
    try:
        pair.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"'{printable(pair)}' is not valid UTF-8", param_hint="--metadata") from None
    return key, value


def _client(context: click.Context, base_url: str) -> Client:
    api_key = os.environ.get(KEY_VARIABLE, "").strip()
    if not api_key:
        tell(f"{KEY_VARIABLE} is not set: export the API key that 'init' or 'keys create' printed", err=True)
        context.exit(EXIT_USAGE)
    if not api_key.startswith(("uk_live_", "uk_test_")):
        tell(f"{KEY_VARIABLE} does not hold an UploadKit API key: it begins with uk_live_ or uk_test_", err=True)
        context.exit(EXIT_USAGE)
    try:
        return Client(base_url, api_key)
    except ValueError as error:
        wrong = KEY_VARIABLE if "api_key" in str(error) else f"--url or {URL_VARIABLE}"
        tell(f"{wrong}: {error}", err=True)
        context.exit(EXIT_USAGE)


def _usable_resume_store() -> Path | None:
    """Return the directory of unfinished uploads; None, with a note, where none can be kept (a read-only home)."""
    try:
        directory = default_resume_store()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            return directory
        reason = f"{directory} is not writable"
    except (OSError, RuntimeError) as error:
        reason = str(error)
    tell(f"Note: interrupted uploads can't be resumed: {printable(reason)}", err=True)
    return None


@dataclass(frozen=True)
class _How:
    """What the options say."""

    route: str
    file_name: str | None
    content_type: str | None
    metadata: dict[str, str]
    resume_store: Path | None
    max_stream_bytes: int


def _upload_one(client: Client, name: str, how: _How) -> UploadedFile:
    file_name = how.file_name or ("stdin" if name == STDIN else None)
    with _progress_bar(file_name or name) as bar:
        on_progress, on_retry = (bar.show, bar.explain) if bar else (None, None)
        return client.upload(
            _standard_input() if name == STDIN else name,
            route=how.route,
            file_name=file_name,
            content_type=how.content_type,
            metadata=how.metadata,
            on_progress=on_progress,
            on_retry=on_retry,
            resume_store=how.resume_store,
            max_stream_bytes=how.max_stream_bytes,
        )


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # closed by whoever started this
        raise UploadKitClientError("there is no standard input", "A file with this name is './-'", code="INVALID_FILE")
    return sys.stdin.buffer


class _Bar:
    """The line of one file: its name, or why nothing moves."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name, self._sent_bytes = progress, printable(os.path.basename(name))[:40], 0
        self._task = progress.add_task(self._name, total=None)

    def show(self, sent_bytes: int, total_bytes: int) -> None:
        """Draw what was sent; once it grows again, nothing needs explaining."""
        description = self._name if sent_bytes > self._sent_bytes else None
        self._sent_bytes = sent_bytes
        self._progress.update(self._task, description=description, completed=sent_bytes, total=total_bytes)

    def explain(self, error: UploadKitClientError) -> None:
        """Say why the upload waits, in place of the name: there is little room."""
        of_store = isinstance(error, UploadKitStorageError) or error.code == "STORAGE_UNAVAILABLE"
        reason = "store unavailable" if of_store else printable(error.message)[:60]
        self._progress.update(self._task, description=f"{reason}, retrying")


@contextmanager
def _progress_bar(name: str) -> Iterator[_Bar | None]:
    """Show a bar on standard error while the body runs, and leave nothing behind; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    # Not markup: a file may be called "[bold]".
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, name)


def _error_line(name: str, error: UploadKitClientError) -> str:
    line = f"{printable(name)}: {printable(error.message)} [{printable(error.code)}]"
    return f"{line}. {printable(error.suggestion)}" if error.suggestion else line


def _interrupted_line(name: str, resume_store: Path | None) -> str:
    try:
        resumable = resume_store is not None and name != STDIN and os.path.getsize(name) > MULTIPART_OVER_BYTES
    except OSError:
        resumable = False
    how = "run the same command again to go on where it stopped" if resumable else "run the same command again to start it over"
    return f"{printable(name)}: interrupted; {how}"
