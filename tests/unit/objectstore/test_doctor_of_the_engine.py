"""`doctor` tries the bundled engine from outside, as another user of the machine would, also when another process runs it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import Appliance, running, wait_until
from tests.support.untrusted_clients import plant, planted_identity
from uploadkit.objectstore.bundled import internal_ports
from uploadkit.objectstore.bundled.engines import find_weed

OURS = ("internal-ports", "internal-http", "identities", "private-files")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with running(tmp_path_factory.mktemp("engine")) as started:
        yield started


def examined(appliance: Appliance) -> tuple[int, dict[str, dict[str, str]]]:
    done = appliance.run("doctor", "--json")
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_sound_store_passes(appliance: Appliance) -> None:
    _, checks = examined(appliance)
    assert {name: checks[name]["outcome"] for name in OURS} == dict.fromkeys(OURS, "ok"), checks


def test_a_readable_key_an_identity_and_a_report_fail(appliance: Appliance, tmp_path: Path) -> None:
    directory = appliance.data_dir / "store" / "seaweedfs"
    base = json.loads((appliance.data_dir / "store" / "address").read_text())["base"]
    identity_file = directory / "tls" / "uploadkit-store.pem"
    report = appliance.data_dir / "store" / "removed-identities"
    assert "iam" in plant(find_weed(), base, planted_identity(), tmp_path, directory=directory)
    identity_file.chmod(0o644)
    code, checks = examined(appliance)
    assert code == 1
    assert checks["private-files"]["outcome"] == checks["identities"]["outcome"] == "failed"
    assert "evil.json" in checks["identities"]["detail"]
    identity_file.chmod(0o600)

    # The next start removes it, and says so until somebody has read it.
    appliance.stop()
    appliance.start()
    wait_until(lambda: "the bundled store answers again" in appliance.log(), what="the store without the outsider")
    assert "SECURITY: the bundled store has S3 identities or settings" in appliance.log()
    code, checks = examined(appliance)
    assert code == 1
    assert "had been in the store" in checks["identities"]["detail"]
    report.unlink()
    assert examined(appliance)[1]["identities"]["outcome"] == "ok"


def test_a_port_of_somebody_elses_is_not_ours(tmp_path: Path) -> None:
    """A server that greets everybody is open; one that hangs up on everybody refuses outsiders, and is not ours."""

    def serve(listener: socket.socket, greeting: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(24)
                connection.sendall(greeting)

    for greeting, accepted in ((b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "a client without TLS"), (b"", None)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener, greeting), daemon=True)
            thread.start()
            port = listener.getsockname()[1]
            assert internal_ports.accepted_untrusted_client(port) == accepted
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    with pytest.raises(internal_ports.NoAnswer, match="can't be reached"):
        internal_ports.accepted_untrusted_client(port)
