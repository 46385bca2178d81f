"""Make `dist/`: the wheel, the wheels that it needs, the one executable file, its parts list, licences and checksums."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from distribution import one_file, parts, tree
from uploadkit import __version__

ROOT = Path(__file__).resolve().parents[1]
# Held against the lock's hashes. PIP_NO_INDEX and PIP_FIND_LINKS work here as everywhere.
DOWNLOAD = ("download", "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements.lock"))


def main() -> None:
    """Make everything in a folder beside, and put it in the old one's place when it is whole."""
    parser = argparse.ArgumentParser(prog="python -m distribution", description="Make what is handed out.")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="the folder, made anew; dist/ by default")
    wanted = parser.parse_args().to.absolute()
    if sys.platform != "linux":
        sys.exit("make dist works on Linux: the executable holds the Python that it is made with")
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent, prefix=".dist-") as made:
        _make(Path(made))
        shutil.rmtree(wanted, ignore_errors=True)
        (Path(made) / "out").rename(wanted)
    for path in sorted(wanted.iterdir()):
        size = sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]))
        _print(f"{size / 1e6:7.1f} MB  {path.name}{'/' if path.is_dir() else ''}")


def _make(work: Path) -> None:
    out, inside = work / "out", work / "tree"
    out.mkdir()
    _print("Getting the wheels that requirements.lock names ...")
    _pip(*DOWNLOAD, "--dest", str(out / "wheelhouse"))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(ROOT))
    (wheel,) = out.glob("uploadkit-*.whl")
    _print("Putting Python and the libraries together ...")
    libraries = tree.make(inside)
    # By its name, not its path: pip would note that, and no two runs would give the same file.
    places = ("--no-index", "--find-links", str(out / "wheelhouse"), "--find-links", str(out))
    _pip("install", "--ignore-installed", "--prefix", str(inside), "--no-compile", *places, f"uploadkit=={__version__}")
    tree.finish(inside)
    found = parts.of(inside, libraries, wheels=[*(out / "wheelhouse").iterdir(), wheel])
    licences = parts.licences(found)
    (inside / "THIRD-PARTY-LICENCES.txt").write_text(licences, encoding="utf-8")
    (out / "THIRD-PARTY-LICENCES.txt").write_text(licences, encoding="utf-8")
    (out / "sbom.cdx.json").write_text(parts.cyclonedx(found, __version__), encoding="utf-8")
    _print("Packing ...")
    one_file.write(inside, out / f"uploadkit-{__version__}-linux-{platform.machine()}", version=__version__)
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out)}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums))


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", "--no-input", *arguments[1:]]
    # Nothing that was set for another place may change where this goes.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER")}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment, cwd=ROOT)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
