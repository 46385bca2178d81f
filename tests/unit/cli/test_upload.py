"""`python app.py upload` as a process of its own against the real appliance; the relay of test_client.py holds it where a test wants it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, wait_until
from tests.support.client_relay import BIG, PART_SIZE, Relay, big, client, error, relay, small

__all__ = ["big", "client", "relay", "small"]  # fixtures


class Shell:
    """Runs the command with a home and a state directory of its own."""

    def __init__(self, relay: Relay, home: Path) -> None:
        self.relay, self.home = relay, home
        self.state = home / "state"
        self.environment = relay.appliance.environment | {
            "UPLOADKIT_API_KEY": relay.appliance.key,
            "UPLOADKIT_URL": relay.url,
            "XDG_STATE_HOME": str(self.state),
        }

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: int = subprocess.PIPE, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "upload", *arguments],
            env={**self.environment, **environment},
            cwd=self.home,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # Whoever runs the tests in the background has Ctrl-C switched off, which children inherit.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, list[str], list[str]]:
        """Return exit code and the lines of standard output and error, which never hold the key nor a traceback."""
        return finish(self.start(arguments, environment), self.relay.appliance.key)

    @property
    def states(self) -> list[Path]:
        return list(self.state.glob("uploadkit/uploads/*.json"))


def finish(process: subprocess.Popen[str], key: str) -> tuple[int, list[str], list[str]]:
    output, errors = process.communicate(timeout=120)
    assert key not in output + errors
    assert "Traceback" not in errors
    return process.returncode, output.splitlines(), errors.splitlines()


@pytest.fixture
def shell(relay: Relay, tmp_path: Path) -> Shell:
    return Shell(relay, tmp_path)


class Hold:
    """Keeps every part from `number` on from getting into the store, until it is released; those are then dropped."""

    def __init__(self, relay: Relay, number: int) -> None:
        self._number, self._released, self.reached = number, threading.Event(), threading.Event()
        relay.on_put = self._hold

    def _hold(self, number: int) -> str | None:
        if number < self._number:
            return None
        self.reached.set()
        assert self._released.wait(120)
        return "hang up"

    def release(self, relay: Relay) -> None:
        relay.on_put = lambda number: None
        self._released.set()


def test_urls_go_to_standard_output_one_a_line(shell: Shell, small: Path, big: Path) -> None:
    code, urls, errors = shell.run(str(small), str(big))
    assert (code, errors) == (0, [])
    assert [shell.relay.appliance.read(url).body for url in urls] == [small.read_bytes(), big.read_bytes()]
    assert shell.states == []


def test_json_is_one_file_object_a_line(shell: Shell, small: Path) -> None:
    code, lines, _ = shell.run("--json", "--metadata", "album=summer=1", "--metadata", "by=ann", str(small), str(small))
    assert code == 0
    files = [json.loads(line) for line in lines]
    assert [file["metadata"] for file in files] == [{"album": "summer=1", "by": "ann"}] * 2
    assert files[0] == shell.relay.appliance.call("GET", f"/files/by-id/{files[0]['id']}").json


def test_the_type_is_what_is_said_or_what_the_name_says(shell: Shell, tmp_path: Path) -> None:
    for name in ("photo.heic", "measured.xyz"):
        (tmp_path / name).write_bytes(b"\x00\x01\x02\x03" * 5)
    code, lines, errors = shell.run("--json", "photo.heic", "measured.xyz")
    assert (code, errors) == (0, [])
    assert [json.loads(line)["contentType"] for line in lines] == ["image/heic", "application/octet-stream"]
    code, lines, errors = shell.run("--json", "--type", "application/vnd.lab+zip", "measured.xyz")
    assert (code, errors, [json.loads(line)["contentType"] for line in lines]) == (0, [], ["application/vnd.lab+zip"])
    code, lines, errors = shell.run("--type", "no type", "measured.xyz")
    assert (code, lines) == (1, [])
    assert "contentType must be one media type" in errors[0]


def test_a_killed_upload_goes_on_where_it_was(shell: Shell, big: Path) -> None:
    hold = Hold(shell.relay, 4)
    process = shell.start([str(big)], {})
    wait_until(lambda: shell.relay.stored == {1: 1, 2: 1, 3: 1} and hold.reached.is_set(), what="three parts to be stored")
    assert shell.relay.appliance.key.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert peak_memory_bytes(process.pid) < 200 * 1024**2
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (state,) = shell.states
    assert shell.relay.appliance.key not in state.read_text()
    hold.release(shell.relay)

    code, (url,), errors = shell.run(str(big))
    assert (code, errors) == (0, [])
    assert shell.relay.stored == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, "a finished part was sent again"
    assert shell.relay.appliance.read(url).body == big.read_bytes()
    assert shell.states == []


def peak_memory_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_ctrl_c_ends_at_once_and_says_how_to_go_on(shell: Shell, big: Path) -> None:
    hold = Hold(shell.relay, 3)
    process = shell.start([str(big)], {})
    wait_until(lambda: shell.relay.stored == {1: 1, 2: 1} and hold.reached.is_set(), what="two parts to be stored")
    process.send_signal(signal.SIGINT)
    pressed_at = time.monotonic()
    # The store still holds the other parts: waiting for them would take two minutes.
    code, output, errors = finish(process, shell.relay.appliance.key)
    assert time.monotonic() - pressed_at < 20  # 0.2 s on an idle machine
    assert (code, output) == (130, [])
    assert errors == [f"{big}: interrupted; run the same command again to go on where it stopped"]
    assert len(shell.states) == 1
    hold.release(shell.relay)
    assert shell.run(str(big))[0] == 0
    assert shell.relay.stored == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def test_ctrl_c_in_a_small_file_ends_too(shell: Shell, small: Path) -> None:
    hold = Hold(shell.relay, 0)
    process = shell.start([str(small)], {})
    assert hold.reached.wait(60)
    process.send_signal(signal.SIGINT)
    code, output, errors = finish(process, shell.relay.appliance.key)
    assert (code, output) == (130, [])
    assert errors == [f"{small}: interrupted; run the same command again to start it over"]
    hold.release(shell.relay)


def test_a_terminal_sees_a_progress_bar_and_the_output_stays_clean(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "[red]film\x1b[31m.bin"
    path.write_bytes(b"1" * BIG)
    with on_a_terminal(shell, str(path)) as (process, seen):
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert output.count("\n") == 1
    assert "\x1b" not in output
    rendered = seen.decode()
    assert "[red]film\\x1b[31m.bin" in rendered
    assert "Traceback" not in rendered
    assert rendered.rindex("\x1b[?25h") > rendered.rindex("\x1b[?25l"), "the cursor was left hidden"


def test_a_terminal_sees_why_nothing_moves(shell: Shell, big: Path) -> None:
    shell.relay.on_put = lambda number: (503, {}, b"")
    with on_a_terminal(shell, str(big)) as (process, seen):
        wait_until(lambda: b"store unavailable, retrying" in seen, what="the reason to be shown")
        shell.relay.on_put = lambda number: None
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert seen.rindex(b"film.bin") > seen.rindex(b"store unavailable"), "the reason was left standing"


@contextmanager
def on_a_terminal(shell: Shell, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], bytearray]]:
    """Run the command with a terminal for its standard error; yield it and what the terminal has seen so far."""
    ours, theirs = pty.openpty()
    process = shell.start(arguments, {"TERM": "xterm-256color", "COLUMNS": "80"}, theirs)
    os.close(theirs)
    seen = bytearray()
    reader = threading.Thread(target=read_all, args=(ours, seen))
    reader.start()
    try:
        yield process, seen
    finally:
        process.kill()  # nothing, once it has ended
        process.communicate(timeout=60)
        reader.join(60)
        os.close(ours)


def read_all(descriptor: int, into: bytearray) -> None:
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # how a pseudo-terminal says that the other end is closed
            return
        if not block:
            return
        into += block


def test_one_bad_file_does_not_stop_the_others(shell: Shell, small: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "-").write_bytes(b"1")
    odd = tmp_path / os.fsdecode(b"two\nlines\xff")
    odd.write_bytes(b"1")
    code, urls, errors = shell.run("missing", "empty", ".", "-", str(small), "./-", str(odd), "gone\x1b[31m\n")
    assert code == 1
    assert len(urls) == 3
    assert [line.partition(": ")[0] for line in errors] == ["missing", "empty", ".", "-", "gone\\x1b[31m\\n"]
    for line, error_code in zip(
        errors, ["FILE_NOT_READABLE", "FILE_EMPTY", "INVALID_FILE", "FILE_EMPTY", "FILE_NOT_READABLE"], strict=True
    ):
        assert f"[{error_code}]" in line


def test_what_the_api_says_is_told_on_one_line(shell: Shell, small: Path) -> None:
    code, output, errors = shell.run("--route", "nowhere", str(small))
    assert (code, output) == (1, [])
    assert len(errors) == 1
    assert "[NOT_FOUND]. " in errors[0]
    shell.relay.on_api = lambda path: error(413, "FILE_TOO_LARGE", "Too\nlarge\x1b[2J", "Raise the\ttier")
    assert shell.run(str(small)) == (1, [], [f"{small}: Too\\nlarge\\x1b[2J [FILE_TOO_LARGE]. Raise the\\ttier"])


def test_a_revoked_key_and_a_missing_appliance_are_failures(shell: Shell, small: Path) -> None:
    code, _, errors = shell.run(str(small), UPLOADKIT_API_KEY="uk_live_" + "x" * 32)
    assert (code, len(errors)) == (1, 1)
    assert "[UNAUTHORIZED]" in errors[0]
    code, _, errors = shell.run(str(small), "--url", "http://127.0.0.1:1")
    assert (code, len(errors)) == (1, 1)
    assert "http://127.0.0.1:1: connection refused [CONNECTION_FAILED]" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["file"], {"UPLOADKIT_API_KEY": ""}, "UPLOADKIT_API_KEY"),
        (["file"], {"UPLOADKIT_API_KEY": "secret-of-another-service"}, "UPLOADKIT_API_KEY"),
        (["file"], {"UPLOADKIT_API_KEY": "uk_live_a b"}, "UPLOADKIT_API_KEY"),
        (["file"], {"UPLOADKIT_URL": "localhost:8080"}, "UPLOADKIT_URL"),
        (["file", "--metadata", "novalue"], {}, "--metadata"),
        (["file", "--metadata", "=v"], {}, "--metadata"),
        ([], {}, "FILE"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_what_to_set(
    shell: Shell, arguments: list[str], environment: dict[str, str], named: str
) -> None:
    code, output, errors = shell.run(*arguments, **environment)
    assert (code, output) == (2, [])
    assert named in errors[-1]
    assert "secret-of-another-service" not in "".join(errors)
    assert shell.relay.calls == []


def test_the_key_is_no_option(shell: Shell) -> None:
    code, lines, _ = shell.run("--help")
    assert code == 0
    assert not any(line.strip().startswith(("--key", "--api-key")) for line in lines)
    assert "UPLOADKIT_API_KEY" in "".join(lines)


def test_without_a_place_for_its_state_it_uploads_all_the_same(shell: Shell, big: Path) -> None:
    code, urls, errors = shell.run(str(big), XDG_STATE_HOME="/dev/null/nowhere")
    assert (code, len(urls), len(errors)) == (0, 1, 1)
    assert "can't be resumed" in errors[0]


def test_a_file_that_is_already_going_up_is_refused(shell: Shell, big: Path) -> None:
    hold = Hold(shell.relay, 1)
    process = shell.start([str(big)], {})
    assert hold.reached.wait(60)
    code, _, errors = shell.run(str(big))
    assert code == 1
    assert "[FILE_IN_USE]" in errors[0]
    hold.release(shell.relay)
    assert finish(process, shell.relay.appliance.key)[0] == 0
    assert shell.relay.stored[1] == 1
    assert PART_SIZE < BIG


def pipe_of(*command: str) -> Iterator[int]:
    """Yield the reading end of a pipe that `command` writes to."""
    with subprocess.Popen([*command], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        yield writer.stdout.fileno()
        writer.stdout.close()


def piped(shell: Shell, source: int, *arguments: str, **environment: str) -> tuple[int, list[str], list[str]]:
    return finish(shell.start(arguments, environment, stdin=source), shell.relay.appliance.key)


WRITE = "import sys; sys.stdout.buffer.write(bytes(range(256)) * ({0} // 256) + b'x' * ({0} % 256))"


@pytest.mark.parametrize("size", [1, 30_000_000])
def test_a_pipe(shell: Shell, size: int) -> None:
    """Its size is not known before its end: so it goes through a temporary file, and in parts where it is large."""
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for descriptor in pipe_of(sys.executable, "-c", WRITE.format(size)):
        code, lines, errors = piped(shell, descriptor, "-", "--name", "Dump of Größe.bin", "--json")
    assert (code, errors) == (0, [])
    file = json.loads(lines[0])
    assert (file["fileName"], file["fileSize"], file["status"]) == ("Dump of Größe.bin", size, "UPLOADED")
    assert shell.relay.appliance.read(file["url"]).body == content
    assert shell.states == []


def test_a_pipe_of_nothing_and_one_without_a_name(shell: Shell) -> None:
    for descriptor in pipe_of("true"):
        code, lines, errors = piped(shell, descriptor, "-")
    assert (code, lines) == (1, [])
    assert errors[0].startswith("-: is empty")
    assert "[FILE_EMPTY]" in errors[0]
    for descriptor in pipe_of("printf", "a,b"):
        code, lines, errors = piped(shell, descriptor, "-", "--json")
    assert (code, json.loads(lines[0])["fileName"], errors) == (0, "stdin", [])


def test_a_pipe_that_breaks(shell: Shell, tmp_path: Path) -> None:
    """Neither one that has no end, nor one that can't be read, nor a reader of ours who has gone makes a traceback or a half file."""
    for descriptor in pipe_of("sh", "-c", "yes 2>/dev/null"):
        code, lines, errors = piped(shell, descriptor, "-", "--max-stream-bytes", "5000000")
    assert (code, lines) == (1, [])
    assert "more than 5000000 bytes" in errors[0]
    assert "[STREAM_TOO_LONG]" in errors[0]
    directory = os.open(tmp_path, os.O_RDONLY)
    code, lines, errors = piped(shell, directory, "-")
    os.close(directory)
    assert (code, lines) == (1, [])
    assert errors, "a directory in the place of standard input"
    program = [sys.executable, str(ROOT / "app.py"), "upload", "-"]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *program], env=shell.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert closed.returncode == 1
    assert "there is no standard input" in closed.stderr
    assert "Traceback" not in closed.stderr
    gone = subprocess.run(
        ["bash", "-c", 'printf abc | "$@" > >(exec true)', "bash", *program, "--name", "abc.txt"],
        env=shell.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in gone.stderr


def test_names_are_for_one_file(shell: Shell, small: Path) -> None:
    code, lines, _ = shell.run(str(small), "--name", "other.txt", "--json")
    assert (code, json.loads(lines[0])["fileName"]) == (0, "other.txt")
    for arguments in ([str(small), "-", "--name", "x"], ["-", "-"]):
        code, lines, errors = shell.run(*arguments)
        assert (code, lines) == (2, [])
        assert "one FILE" in " ".join(errors) or "once" in " ".join(errors)
