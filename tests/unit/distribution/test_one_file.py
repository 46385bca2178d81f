"""The head of the executable file, around a small program: it unpacks once, whole, for its user alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distribution import one_file

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("sha256sum"), reason="needs what any Debian has")

# In Python's place: says how it was called.
PROGRAM = """#!/bin/sh
for argument; do printf '<%s>' "$argument"; done
printf ' umask %s, LC_ALL %s\\n' "$(umask)" "${LC_ALL-unset}"
"""


def made(folder: Path, program: str = PROGRAM, name: str = "program") -> Path:
    tree = folder / f"{name}-tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib/with space").mkdir(parents=True)
    for path, text in {"bin/python3": program, "bin/uploadkit": "", "lib/with space/ä.txt": "x" * 100_000}.items():
        (tree / path).write_text(text)
        (tree / path).chmod(0o700)
    one_file.write(tree, folder / name, version="1.2.3")
    return folder / name


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return made(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache of mine"


def environment(cache: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), **more}


def run(program: Path, cache: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    return subprocess.run(command, env=environment(cache, **more), capture_output=True, text=True, check=False, timeout=60, umask=0o027)


def unpacked(cache: Path) -> Path:
    (found,) = (cache / "uploadkit").iterdir()
    return found


def test_it_passes_arguments_on_as_they_are(program: Path, cache: Path) -> None:
    given = ("two words", "", "$(id)", "a\nb", "--x='y'", "*")
    done = run(program, cache, *given, LC_ALL="C.UTF-8")
    assert (done.returncode, done.stderr) == (0, "")
    tree = unpacked(cache)
    own = f"<-I><-B><-X><uploadkit={program}><{tree}/bin/uploadkit>"
    assert done.stdout == own + "".join(f"<{one}>" for one in given) + " umask 0027, LC_ALL C.UTF-8\n"
    assert "LC_ALL unset" in run(program, cache).stdout


def test_it_unpacks_once_and_for_its_user_alone(program: Path, cache: Path) -> None:
    run(program, cache)
    tree = unpacked(cache)
    assert tree.parent.stat().st_mode & 0o777 == 0o700
    made_at = tree.stat().st_ctime_ns
    assert run(program, cache).returncode == 0
    assert unpacked(cache).stat().st_ctime_ns == made_at


def test_the_same_folder_gives_the_same_file(tmp_path: Path, program: Path) -> None:
    one_file.write(tmp_path / "program-tree", tmp_path / "again", version="1.2.3")
    assert (tmp_path / "again").read_bytes() == program.read_bytes()


@pytest.mark.parametrize("harm", ["gone", "shorter", "mode", "more"])
def test_what_is_not_whole_any_more_is_unpacked_anew(program: Path, cache: Path, harm: str) -> None:
    run(program, cache)
    file = unpacked(cache) / "lib/with space/ä.txt"
    if harm == "gone":
        file.unlink()
    elif harm == "shorter":
        file.write_text("x")
    elif harm == "mode":
        file.chmod(0o666)
    else:
        file.with_name("b.txt").write_text("")
    assert run(program, cache).returncode == 0
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("x" * 100_000, 0o700)
    assert not file.with_name("b.txt").exists()
    assert len(list((cache / "uploadkit").iterdir())) == 1


@pytest.mark.parametrize("at", [-1, -60])
def test_a_damaged_file_starts_nothing(program: Path, cache: Path, at: int) -> None:
    content = bytearray(program.read_bytes())
    content[at] ^= 1
    program.write_bytes(content)
    done = run(program, cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"uploadkit: {program} is damaged")
    assert list((cache / "uploadkit").iterdir()) == []


def test_a_damaged_file_is_told_by_version_also_where_an_undamaged_one_was_unpacked(program: Path, cache: Path) -> None:
    """What upgrades it asks for its version first."""
    assert run(program, cache, "--version").returncode == 0
    program.write_bytes(program.read_bytes() + b"x")
    done = run(program, cache, "--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"uploadkit: {program} is damaged")
    assert run(program, cache).returncode == 0, "what was unpacked is whole"


def test_many_at_once_leave_one(program: Path, cache: Path) -> None:
    command = [str(program), "x"]
    started = [subprocess.Popen(command, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    for child in started:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, b"")
        assert b"<x>" in out
    assert re.fullmatch("[0-9a-f]{64}", unpacked(cache).name)


def test_a_kill_leaves_nothing_half(tmp_path: Path, cache: Path) -> None:
    program, known = made(tmp_path), set()
    for seconds in (0.0, 0.01, 0.02, 0.04, 0.08):
        child = subprocess.Popen([str(program)], env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)  # somewhere in it; which of the moments it is does not matter
        child.send_signal(signal.SIGKILL)
        child.wait()
        known |= {path.name for path in (cache / "uploadkit").glob("[0-9a-f]*")} if cache.exists() else set()
    assert run(program, cache).returncode == 0
    assert len(known) <= 1
    # What the killed ones left goes with the first that unpacks an hour later.
    for path in (cache / "uploadkit").glob(".unpacking.*"):
        os.utime(path, (0, 0))
    other = made(tmp_path, PROGRAM + "# another version\n", "other")
    assert run(other, cache).returncode == 0
    assert list((cache / "uploadkit").glob(".unpacking.*")) == []


def test_a_folder_that_others_may_change_is_refused(program: Path, cache: Path) -> None:
    folder = cache / "uploadkit"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert "must be yours and closed to others" in run(program, cache).stderr
    folder.chmod(0o700)
    cache.chmod(0o777)
    assert "can be written by everybody" in run(program, cache).stderr
    cache.chmod(0o1777)
    assert run(program, cache).returncode == 0


def test_a_link_is_refused(program: Path, cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (cache / "uploadkit").symlink_to(tmp_path / "elsewhere")
    done = run(program, cache)
    assert (done.returncode, "is a symbolic link" in done.stderr) == (1, True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused(program: Path, cache: Path) -> None:
    (cache / "uploadkit").mkdir(parents=True, mode=0o700)
    os.chown(cache / "uploadkit", 12345, 12345)
    assert "must be yours" in run(program, cache).stderr
    os.chown(cache / "uploadkit", 0, 0)
    os.chown(cache, 12345, 12345)
    assert "belongs to somebody else" in run(program, cache).stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_in_few_lines_and_leaves_nothing(program: Path, cache: Path) -> None:
    cache.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=755", "none", str(cache)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        done = run(program, cache)
        assert done.returncode == 1
        assert "is the disk full?" in done.stderr.splitlines()[-1]
        assert len(done.stderr.splitlines()) < 5
        assert list((cache / "uploadkit").iterdir()) == []
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_without_a_home_it_uses_the_folder_for_temporary_files(program: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    surroundings = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "tmp"), "HOME": "/nonexistent"}
    if os.getuid() == 0:
        del surroundings["HOME"]  # root may write everywhere
    assert subprocess.run([str(program)], env=surroundings, check=False, capture_output=True).returncode == 0
    assert len(list((tmp_path / f"tmp/uploadkit-{os.getuid()}").iterdir())) == 1


def test_it_may_be_called_by_any_name(program: Path, cache: Path) -> None:
    for command in (["./program"], ["sh", "program"], ["program"]):
        found = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=program.parent, env=environment(cache) | found, capture_output=True, text=True, check=False, timeout=60
        )
        assert f"<uploadkit={program.parent}/" in done.stdout, command


def test_another_machine_is_told(program: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uname").write_text("#!/bin/sh\necho riscv64\n")
    (tmp_path / "bin/uname").chmod(0o755)
    done = run(program, cache, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (done.returncode, "this machine is riscv64" in done.stderr) == (1, True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_another_shell_does_as_well(program: Path, cache: Path) -> None:
    done = subprocess.run(["bash", "--posix", str(program), "a b"], env=environment(cache), capture_output=True, text=True, check=False)
    assert "<a b>" in done.stdout
