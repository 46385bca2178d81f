"""Whatever stands in names and in a store's answers: a terminal shows it, and obeys none of it."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance
from uploadkit.cli.terminal import plain, tell

COMMANDS = "\x1b[31m\x1b]0;title\x07\x9b2J\r\u202e"


class _Hostile(BaseHTTPRequestHandler):
    """A store that has commands for a terminal in all that it says."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"<Error><Code>No\xc2\x9b31m\xe2\x80\xaeWay</Code><Message>\xc2\x9b2J</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def version_string(self) -> str:
        return "Store\x1b[31m"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hostile() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_a_store_says_commands_no_terminal(tmp_path: Path, hostile: str) -> None:
    settings = {"ENDPOINT": hostile, "BUCKET": "files", "REGION": "us-east-1", "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "secret"}
    appliance = Appliance(tmp_path, STORAGE__MODE="byos", **{f"STORAGE__BYOS__{name}": value for name, value in settings.items()})
    assert appliance.run("init").returncode == 0
    for command, rendered in ((["doctor"], "Store\\x1b[31m"), (["reconcile"], "No\\x9b31m")):
        done = appliance.run(*command)
        text = done.stdout + done.stderr
        assert done.returncode == 1
        assert rendered in text
        assert all(character.isprintable() for character in text.replace("\n", "")), text


def test_names_command_no_terminal(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path)
    assert appliance.run("init").returncode == 0
    assert appliance.run("projects", "create", f"Name {COMMANDS}").returncode == 0
    assert appliance.run("keys", "create", "--name", f"Name {COMMANDS}").returncode == 0
    for command in (["projects", "list"], ["keys", "list"]):
        text = appliance.run(*command).stdout
        assert "Name \\x1b[31m" in text
        assert all(character.isprintable() for character in text.replace("\n", "")), text


def test_all_lines_stay_lines_and_nothing_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tell(f"one {COMMANDS}\ntwo [bold]")
    assert capsys.readouterr().out.split("\n") == ["one \\x1b[31m\\x1b]0;title\\x07\\x9b2J\\r\\u202e", "two [bold]", ""]
    assert plain("[bold]\x1b") == "\\[bold]\\x1b"


def test_commands_print_in_no_other_way() -> None:
    for path in (ROOT / "uploadkit").glob("cli*.py"):
        names = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert not names & {"click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write"}, path.name
