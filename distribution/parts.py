"""What the executable is made of: the parts list (CycloneDX) and the licences that have to go along."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_A_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.I)


@dataclass(frozen=True)
class Part:
    """One thing that somebody else may ask about: a package of Python, Python itself, a library of the system."""

    name: str
    version: str
    url: str
    """Its package URL (purl), which databases of known faults go by."""
    licence: str
    texts: tuple[str, ...] = field(repr=False)
    sha256: str | None = None


def of(folder: Path, libraries: dict[str, Path], *, wheels: Iterable[Path]) -> list[Part]:
    """Return what `folder` is made of. `libraries` are the system's that are in it; `wheels` the files that were installed."""
    digests = {_wheel_of(path.name): hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}
    packages = next(folder.glob("lib/python3*/site-packages"))
    found = [_package(one, digests) for one in importlib.metadata.distributions(path=[str(packages)])]
    licence = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})) / "LICENSE.txt"
    python = licence if licence.is_file() else Path(f"/usr/share/doc/python{sysconfig.get_python_version()}/copyright")
    version = platform.python_version()
    found.append(Part("python", version, f"pkg:generic/python@{version}", "PSF-2.0", (python.read_text(encoding="utf-8"),)))
    known: set[str] = set()
    for name, path in sorted(libraries.items()):
        if not name.startswith("libpython") and (owner := _owner(path)) not in known:
            known.add(owner)
            found.append(_library(owner))
    return sorted(found, key=lambda part: part.name)


def licences(parts: Iterable[Part]) -> str:
    """Return the licences of all parts as one text."""
    sections = [
        "UploadKit holds the following software of others. The Go modules that the bundled store is made of are listed by `weed`'s makers."
    ]
    for part in parts:
        if part.name == "uploadkit":
            continue
        texts = part.texts or (f"(The package names its licence, and brings no text: {part.licence})",)
        sections.append(f"{'=' * 100}\n{part.name} {part.version}   {part.licence}\n{'=' * 100}\n")
        sections.extend(text.strip() + "\n" for text in texts)
    return "\n".join(sections)


def cyclonedx(parts: Iterable[Part], version: str) -> str:
    """Return the parts list as CycloneDX 1.6, JSON. The same parts give the same text."""
    components = []
    for part in parts:
        one: dict[str, object] = {"type": "library", "bom-ref": part.url, "name": part.name, "version": part.version, "purl": part.url}
        if part.name == "uploadkit":
            continue
        if part.sha256:
            one["hashes"] = [{"alg": "SHA-256", "content": part.sha256}]
        one["licenses"] = [{"license": {"name": part.licence}}]
        components.append(one)
    whole = {"type": "application", "bom-ref": "uploadkit", "name": "uploadkit", "version": version}
    content = json.dumps(components, sort_keys=True)
    return json.dumps(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
            "version": 1,
            "metadata": {"component": whole},
            "components": components,
            "dependencies": [{"ref": "uploadkit", "dependsOn": [one["bom-ref"] for one in components]}],
        },
        indent=1,
    )


def _package(one: importlib.metadata.Distribution, digests: dict[str, str]) -> Part:
    name = re.sub(r"[-_.]+", "-", one.name).lower()
    fields = {key: one.metadata.get_all(key) or [] for key in ("License-Expression", "Classifier", "License")}
    of_classifiers = [text.rpartition(" :: ")[2] for text in fields["Classifier"] if text.startswith("License :: ")]
    licence = next(iter(fields["License-Expression"]), "") or " and ".join(of_classifiers)
    licence = licence or "".join(fields["License"]).partition("\n")[0] or "see its text"
    files = [path for path in one.files or [] if ".dist-info/" in str(path) and _A_LICENCE.search(path.name)]
    texts = tuple(Path(str(path.locate())).read_text(encoding="utf-8", errors="replace") for path in sorted(files))
    return Part(name, one.version, f"pkg:pypi/{name}@{one.version}", licence, texts, digests.get(name))


def _library(owner: str) -> Part:
    output = subprocess.run(
        ["dpkg-query", "-W", "-f", "${source:Package} ${Version}", owner],  # noqa: S607 - a tool of developers
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    source, version = output.split()
    text = Path(f"/usr/share/doc/{owner.partition(':')[0]}/copyright").read_text(encoding="utf-8")
    return Part(source, version, f"pkg:deb/debian/{source}@{version}", "see its text", (text,))


def _owner(library: Path) -> str:
    """The Debian package that a library is from."""
    real = str(library.resolve())
    for path in (real, real.removeprefix("/usr")):  # Debian 12 still has packages that name /lib, which is a link
        output = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False).stdout  # noqa: S607
        if output:
            return output.partition(": ")[0]
    sys.exit(f"{library} is of no Debian package: its licence can't be told. Make it with Debian's libraries")


def _wheel_of(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("-")[0]).lower()
