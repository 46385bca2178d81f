"""The one executable file on a machine that has nothing: no Python, no network, no root.

The machine is a root file system made by hand (a shell, tar, gzip and what else any Debian has), in a network of its own with nothing but
loopback. Making the file takes a minute: DIST=1 does, and DIST_FILE=… tests one that is there.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distribution import one_file
from tests.support.appliance import JPEG, ROOT, Appliance, started

# Each is in a package that Debian marks as essential.
TOOLS = (
    "sh tar gzip sha256sum find sort stat mkdir mktemp mv rm head tail id uname dirname",  # for the head of the file
    "ls cat",  # for whoever looks at a failure
)
USER = 1234

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (os.environ.get("DIST") or os.environ.get("DIST_FILE")), reason="DIST=1 makes the file, or DIST_FILE names it"),
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can make such a machine"),
]


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if named := os.environ.get("DIST_FILE"):
        return Path(named)
    made = tmp_path_factory.mktemp("made") / "dist"
    subprocess.run([sys.executable, "-m", "distribution", "--to", str(made)], cwd=ROOT, check=True)
    (found,) = made.glob("uploadkit-*-linux-*")
    return found


@pytest.fixture(scope="module")
def without_network() -> Iterator[None]:
    """This thread, and what it starts, in a network with nothing but loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(0x40000000):  # CLONE_NEWNET
        pytest.skip(f"no network namespace here: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
    yield
    assert libc.setns(before, 0x40000000) == 0
    os.close(before)


@pytest.fixture(scope="module")
def machine(executable: Path, without_network: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system without Python, with the executable as /uploadkit and a user's home."""
    root = tmp_path_factory.mktemp("machine")
    for folder in ("bin", "etc", "proc", "dev", "tmp", "home/user"):
        (root / folder).mkdir(parents=True)
    for name in " ".join(TOOLS).split():
        found = shutil.which(name)
        assert found, name
        shutil.copy(found, root / "bin" / name)
        for library in re.findall(r"(?:=> |^\s+)(/\S+)", subprocess.run(["ldd", found], capture_output=True, text=True).stdout, re.M):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    # Of glibc, which any such machine has whole: what Python and its modules ask for.
    of_glibc = Path(re.findall(r"=> (/\S+/)libc\.so", subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True).stdout)[0])
    for name in ("libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2", "libgcc_s.so.1"):
        (root / of_glibc.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(of_glibc / name, root / of_glibc.relative_to("/") / name)
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nuser:x:{USER}:{USER}::/home/user:/bin/sh\n")
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(executable, root / "uploadkit")
    os.chown(root / "home/user", USER, USER)
    assert not [path for path in root.rglob("*python*") if "home" not in path.parts]
    return root


def on(machine: Path, executable: str = "/uploadkit") -> list[str]:
    """What runs the executable on the machine as its ordinary user, in this very process."""
    inside = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec="$1:$1" "$0" "${@:2}"'
    return ["unshare", "--mount", "bash", "-c", inside, str(machine), str(USER), executable]


def of_user(machine: Path, home: str, executable: str) -> Appliance:
    """An appliance of the machine's ordinary user, with its data in `home`."""
    appliance = Appliance(machine / home[1:])
    settings = {name: value for name, value in appliance.environment.items() if name.startswith("UPLOADKIT_")}
    settings["UPLOADKIT_DATA__DIR"] = f"{home}/data"
    # As any machine has them. Not PATH: `unshare` is found by ours.
    appliance.environment = settings | {"HOME": "/home/user", "PATH": f"{os.environ['PATH']}:/bin"}
    appliance.program = on(machine, executable)
    return appliance


@pytest.fixture(scope="module")
def installed(machine: Path) -> Iterator[Appliance]:
    appliance = of_user(machine, "/home/user", "/uploadkit")
    began = time.monotonic()
    first = appliance.run("--version")
    assert (first.returncode, first.stderr) == (0, "")
    print(f"\nunpacked and started in {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    with started(appliance):
        print(f"ready in {time.monotonic() - began:.1f} s")
        yield appliance
        assert appliance.stop() == 0, appliance.log()


def test_it_serves_and_takes_files(installed: Appliance) -> None:
    content = JPEG + os.urandom(100_000)
    done = installed.upload(content)
    assert installed.read(done["url"]).body == content
    assert (installed.data_dir / "uploadkit.db").stat().st_uid == USER
    assert "Traceback" not in installed.log()


def test_its_pages_are_whole(installed: Appliance) -> None:
    for path in ("/", "/dashboard/sign-in", "/docs"):
        page = installed.fetch("GET", installed.base + path)
        assert page.status == 200, path
        linked = re.findall(r'(?:href|src)="(/[^"#?]+\.(?:css|js|svg|woff2))"', page.body.decode())
        assert linked, path
        for url in linked:
            assert installed.fetch("GET", installed.base + url).status == 200, url
    assert installed.fetch("GET", f"{installed.base}/uploadkit.js").status == 200


def test_its_own_command_uploads(installed: Appliance) -> None:
    content = os.urandom(12 * 1024 * 1024)
    (installed.home / "large.bin").write_bytes(content)
    done = installed.run("upload", "/home/user/large.bin", "--json", UPLOADKIT_API_KEY=installed.key, UPLOADKIT_URL=installed.base)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout) if done.stdout.startswith("[") else [json.loads(done.stdout)]
    got = installed.call("GET", f"/files/{row['key']}").json
    assert hashlib.sha256(installed.read(got["url"]).body).digest() == hashlib.sha256(content).digest()


def test_it_makes_backups(installed: Appliance) -> None:
    made = installed.run("backup", "create", "--to", "/home/user/backups", "--json")
    assert made.returncode == 0, made.stderr
    verified = installed.run("backup", "verify", "--from", "/home/user/backups", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["ok"]) == (0, True)


@pytest.mark.parametrize("command", [["--help"], ["doctor"], ["keys", "list"], ["reconcile"], ["usage", "verify"], ["config", "reference"]])
def test_its_other_commands_work(installed: Appliance, command: list[str]) -> None:
    done = installed.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_messages_name_it_as_it_is_called(installed: Appliance) -> None:
    refused = installed.call("GET", "/files", key="")
    assert "'uploadkit keys create'" in refused.json["error"]["suggestion"]


def test_searching_works(installed: Appliance) -> None:
    """By trigrams: the SQLite that came along has them."""
    installed.upload(JPEG * 10, name="needle-in-a-haystack.jpg")
    found = installed.call("GET", "/files?search=eedle-in").json
    assert [one["fileName"] for one in found["items"]] == ["needle-in-a-haystack.jpg"]


def test_a_kill_takes_the_store_along_and_it_comes_back(installed: Appliance) -> None:
    done = installed.upload(JPEG * 100)
    installed.kill()
    began = time.monotonic()
    installed.start()
    print(f"\nready again in {time.monotonic() - began:.1f} s")
    assert installed.read(done["url"]).body == JPEG * 100


@pytest.fixture(scope="module")
def newer(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same program as a later version, with a schema of its own."""
    folder = tmp_path_factory.mktemp("newer")
    subprocess.run([executable, "--version"], env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(folder)}, check=True)
    (tree,) = (folder / "uploadkit").iterdir()
    (package,) = tree.glob("lib/python*/site-packages/uploadkit")
    migrations = sorted((package / "db/migrations").glob("[0-9]*.sql"))
    (package / f"db/migrations/{len(migrations) + 1:04d}_later.sql").write_text(
        "CREATE TABLE later (id TEXT NOT NULL PRIMARY KEY) STRICT;\n"
    )
    text = (package / "__init__.py").read_text()
    (package / "__init__.py").write_text(re.sub(r"(?m)^__version__ = .*", '__version__ = "9.9.9"', text))
    for compiled in (package / "__pycache__").glob("__init__.*"):
        compiled.unlink()
    one_file.write(tree, folder / "uploadkit-9.9.9", version="9.9.9")
    return folder / "uploadkit-9.9.9"


def test_it_is_upgraded_and_goes_back(machine: Path, newer: Path) -> None:
    home = machine / "home/user/upgraded"
    appliance = of_user(machine, "/home/user/upgraded", "/home/user/upgraded/uploadkit")
    shutil.copy(machine / "uploadkit", home / "uploadkit")
    shutil.copy(newer, home / "new")
    (home / "SHA256SUMS").write_text(f"{hashlib.sha256(newer.read_bytes()).hexdigest()}  new\n")
    for path in (home, *home.iterdir()):
        os.chown(path, USER, USER)
    with started(appliance):
        kept = appliance.upload(JPEG * 100, name="kept.jpg")
        refused = appliance.run("upgrade", "--from", "/home/user/upgraded/new")
        assert (refused.returncode, "stop it first" in refused.stderr) == (2, True)
        version = appliance.run("--version").stdout
        assert appliance.stop() == 0

        began = time.monotonic()
        done = appliance.run("upgrade", "--from", "/home/user/upgraded/new")
        assert done.returncode == 0, done.stderr
        print(f"\nupgraded in {time.monotonic() - began:.1f} s\n{done.stdout}")
        assert appliance.run("--version").stdout == "uploadkit, version 9.9.9\n"
        appliance.start()
        assert appliance.read(kept["url"]).body == JPEG * 100
        lost = appliance.upload(JPEG * 200, name="lost.jpg")
        assert appliance.stop() == 0

        refused = appliance.run("upgrade", "--back")
        print(refused.stderr)
        assert (refused.returncode, "1 files, the last one at" in refused.stderr) == (2, True)
        done = appliance.run("upgrade", "--back", "--lose-changes")
        assert done.returncode == 0, done.stderr
        print(done.stdout)
        assert appliance.run("--version").stdout == version
        appliance.start()
        assert appliance.read(kept["url"]).body == JPEG * 100
        assert appliance.call("GET", f"/files/{lost['key']}").status == 404
        found = appliance.run("reconcile", "--fix", "--force")
        assert lost["key"] in found.stdout
        assert "they agree" in appliance.run("reconcile").stdout
        assert "Traceback" not in appliance.log()
        assert appliance.stop() == 0
