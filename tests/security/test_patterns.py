"""Every regular expression of the product is linear, or nearly so, at the longest input that can reach it.

The patterns are found, not listed: in the modules as they are, in the source, in the constraints of fields, in the page scripts. A new one
is timed from the day it is written. Each is tried on hostile texts that are made of its own parts, in a process of its own that can be
killed: a catastrophic match holds the interpreter's lock and hears no signal.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import re
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# As long as anything that comes in at once: the head of a request.
LONGEST = 32_768
# Of the processor's time: a linear pattern needs a millisecond for that, a quadratic one many seconds.
MOST_SECONDS = 0.5
PATIENCE_SECONDS = 30
# Patterns that take more than linear time, and how many characters can reach them at most.
BOUNDED: dict[str, int] = {}
UNKNOWN = "?"
_SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}
_CALLS = {"compile", "match", "fullmatch"} | _SEARCHES


@dataclass(frozen=True)
class Pattern:
    """A pattern and where it was found."""

    place: str
    source: str
    flags: int = 0
    is_bytes: bool = False
    uses: tuple[str, ...] = ("match", "fullmatch")

    @property
    def name(self) -> str:
        """What tables call it: the last part of its place without an index."""
        return re.split(r"[.:]", self.place.partition("[")[0])[-1] if self.place.startswith("uploadkit.") else self.place


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "uploadkit").rglob("*.py"))]


def compiled() -> Iterator[Pattern]:
    """The patterns that modules hold, also in tables and in classes."""
    program = """
import importlib, json, pkgutil, re, sys
import uploadkit
found = []
def look(place, value, depth=0):
    if isinstance(value, re.Pattern):
        text = value.pattern
        found.append([place, text.decode("latin-1") if isinstance(text, bytes) else text, value.flags, isinstance(text, bytes)])
    elif depth < 3 and isinstance(value, dict):
        for name, inner in value.items(): look(f"{place}[{name!r}]", inner, depth + 1)
    elif depth < 3 and isinstance(value, (list, tuple, set, frozenset)):
        for inner in value: look(place, inner, depth + 1)
    elif depth < 2 and isinstance(value, type) and value.__module__.startswith("uploadkit"):
        for name, inner in vars(value).items(): look(f"{place}.{name}", inner, depth + 1)
        for name, field in getattr(value, "model_fields", {}).items() if hasattr(value, "model_fields") else ():
            for constraint in field.metadata:
                if isinstance(getattr(constraint, "pattern", None), str): found.append([f"{place}.{name}", constraint.pattern, 0, False])
for info in pkgutil.walk_packages(uploadkit.__path__, "uploadkit."):
    module = importlib.import_module(info.name)
    for name, value in vars(module).items(): look(f"{info.name}.{name}", value)
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for place, source, flags, is_bytes in json.loads(done.stdout):
        name = place.partition("[")[0].rpartition(".")[2]
        uses = ("search", "match") if name in searched_for() else ("match", "fullmatch")
        yield Pattern(place, source, flags & ~re.UNICODE, is_bytes, uses)


@cache
def searched_for() -> set[str]:
    """The names in all functions that look for a pattern anywhere in a text, which takes longer than at its beginning."""
    names = set()
    for path in sources():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(_is_search(node) for node in ast.walk(function)):
                names |= {inner.id for inner in ast.walk(function) if isinstance(inner, ast.Name)}
    return names


def _is_search(node: ast.AST) -> bool:
    """Texts can be split and searched as well; of those calls, only what names a pattern counts."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _SEARCHES:
        return False
    return node.func.attr != "split" or ast.unparse(node.func.value) == "re"


def written(path: Path) -> Iterator[Pattern]:
    """The patterns that stand in calls of `re` and in `pattern=` of one source file: literals, and texts that the module has a name for."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        place = f"{path.relative_to(ROOT)}:{node.lineno}"
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re" and node.func.attr in _CALLS:
            flags = re.IGNORECASE if "IGNORECASE" in ast.unparse(node) else 0
            uses = ("search",) if node.func.attr in _SEARCHES else ("match", "fullmatch")
            text = _text_of(path, node.args[0])
            if text is not None:
                yield of_literal(place, text, flags, uses)
            elif node.func.attr != "compile":  # what is compiled is found in its module
                yield Pattern(place, UNKNOWN)
        for keyword in node.keywords:
            if keyword.arg == "pattern" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
                yield of_literal(place, keyword.value.value, 0)


def _text_of(path: Path, node: ast.AST) -> str | bytes | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | bytes) else None
    if isinstance(node, ast.Name):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        found = getattr(module, node.id, None)
        return found if isinstance(found, str | bytes) else None
    return None


def of_literal(place: str, value: str | bytes, flags: int, uses: tuple[str, ...] = ("match", "fullmatch")) -> Pattern:
    return Pattern(place, value.decode("latin-1") if isinstance(value, bytes) else value, flags, isinstance(value, bytes), uses)


def every_pattern() -> list[Pattern]:
    found = [*compiled(), *(pattern for path in sources() for pattern in written(path))]
    return list({(pattern.source, pattern.flags, pattern.uses): pattern for pattern in reversed(found)}.values())


def samples(source: str) -> tuple[list[str], list[str]]:
    """Texts that a pattern (nearly) matches, shortest first, and those that its repeated parts stand for, by all their alternatives."""
    units: list[str] = []

    def ways(items: Any) -> list[str]:
        """Some ways to write a sequence: what may be left out is, first of all; the last alternatives vary most."""
        return ["".join(choice) for choice in itertools.islice(itertools.product(*(of_item(op, value) for op, value in items)), 24)] or [""]

    def of_item(op: Any, value: Any) -> list[str]:
        match str(op):
            case "LITERAL":
                return [chr(value)]
            case "NOT_LITERAL":
                return ["x" if value != ord("x") else "y"]
            case "ANY":
                return ["x"]
            case "IN":
                return of_class(value)[:2]
            case "SUBPATTERN":
                return ways(value[-1])
            case "ATOMIC_GROUP":
                return ways(value)
            case "BRANCH":
                return [way for branch in value[1] for way in ways(branch)[:3]]
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                inner = ways(value[2])
                units.extend(inner)
                if str(value[2][0][0]) == "IN":
                    units.extend(of_class(value[2][0][1]))
                fewest = value[0]
                return [inner[0] * fewest, *(way * max(fewest, 1) for way in inner[:2])]
            case _:
                return [""]

    def of_class(items: Any) -> list[str]:
        negated = any(str(op) == "NEGATE" for op, _ in items)
        inside = [c for c in map(chr, range(32, 127)) if any(is_in(op, value, c) for op, value in items) != negated]
        usual = [c for c in "a0-. =" if c in inside]
        return list(dict.fromkeys(usual[:1] + inside[:1] + inside[len(inside) // 2 :][:1] + inside[-1:])) or ["\t", "é"]

    def is_in(op: Any, value: Any, c: str) -> bool:
        match str(op):
            case "LITERAL":
                return chr(value) == c
            case "RANGE":
                return bool(value[0] <= ord(c) <= value[1])
            case "CATEGORY":
                kind = str(value).removeprefix("CATEGORY_")
                letter = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[kind.removeprefix("NOT_")]
                return bool(re.match(letter, c)) != kind.startswith("NOT_")
            case _:
                return False

    wholes = ways(parser.parse(source))
    return wholes, [unit for unit in dict.fromkeys(units) if unit] or [whole for whole in wholes[:1] if whole]


def hostile(source: str, longest: int) -> list[str]:
    """Texts of up to `longest` characters that almost match a pattern, again and again, and then do not."""
    wholes, units = samples(source)
    heads = list(dict.fromkeys(["", *wholes[:2], wholes[0][:-1], wholes[0][:1]]))
    pairs = [a + b for a in units[:5] for b in units[:5] if a != b]
    texts = []
    for length in (30, 300):
        for unit, head, tail in itertools.product(units[:40] + pairs, heads, ("\0", "!", "")):
            texts.append((head + unit * (length // len(unit)))[: length - len(tail)] + tail)
    for unit, head in itertools.product(units[:12] + pairs[:4], heads[:3]):
        texts.append((head + unit * (longest // len(unit)))[: longest - 1] + "\0")
    return list(dict.fromkeys(texts))


# Both read [source, flags, is_bytes, uses, texts] a line and answer [seconds, what took them] with one.
_PYTHON = """
import json, re, sys, time
for line in sys.stdin:
    source, flags, is_bytes, uses, texts = json.loads(line)
    pattern = re.compile(source.encode("latin-1") if is_bytes else source, flags)
    slowest = [0.0, ""]
    for text in texts:
        data = text.encode("latin-1", "replace") if is_bytes else text
        for use in uses:
            start = time.process_time()
            getattr(pattern, use)(data)
            slowest = max(slowest, [time.process_time() - start, f"{use} {text[:80]!r} of {len(text)}"])
    print(json.dumps(slowest), flush=True)
"""
_NODE = """
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const [source, flags, , , texts] = JSON.parse(line);
  let slowest = [0, ""];
  for (const text of texts) {
    const pattern = new RegExp(source, flags), start = process.cpuUsage();
    pattern.exec(text);
    const seconds = process.cpuUsage(start).user / 1e6;
    if (seconds > slowest[0]) slowest = [seconds, `${JSON.stringify(text.slice(0, 80))} of ${text.length}`];
  }
  console.log(JSON.stringify(slowest));
});
"""


def timed(command: list[str], jobs: dict[str, list[Any]], patience_seconds: float = PATIENCE_SECONDS) -> dict[str, tuple[float, str]]:
    """Time each job in a process that is killed, and made anew for the rest, when one does not end."""
    results: dict[str, tuple[float, str]] = {}
    waiting = list(jobs.items())
    while waiting:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while waiting:
                    name, job = waiting.pop(0)
                    process.stdin.write(json.dumps(job) + "\n")
                    process.stdin.flush()
                    if not selector.select(patience_seconds):
                        results[name] = (float("inf"), "did not end")
                        process.kill()
                        break
                    answer = process.stdout.readline()
                    assert answer, name
                    results[name] = tuple(json.loads(answer))
                else:
                    process.stdin.close()
    return results


def too_slow(results: dict[str, tuple[float, str]]) -> dict[str, tuple[float, str]]:
    return {name: took for name, took in results.items() if took[0] > MOST_SECONDS}


def job_of(pattern: Pattern) -> list[Any]:
    longest = BOUNDED.get(pattern.name, LONGEST)
    return [pattern.source, pattern.flags, pattern.is_bytes, pattern.uses, hostile(pattern.source, longest)]


def test_no_pattern_of_the_product_takes_long() -> None:
    patterns = every_pattern()
    names = {pattern.name for pattern in patterns}
    assert {"DECLARED", "RANGE", "_FORM", "_ORIGIN", "_EMAIL"} <= names, "patterns are found where they are known to be"
    assert len(patterns) > 50
    assert [pattern.place for pattern in patterns if pattern.source == UNKNOWN] == [], "write it where this test can read it"
    assert BOUNDED.keys() <= names, "an exception has a pattern"
    results = timed([sys.executable, "-c", _PYTHON], {f"{p.place} {p.source} {p.uses}": job_of(p) for p in patterns})
    assert too_slow(results) == {}


_LITERAL = re.compile(r"(?<=[(,=:\[!&|?{};\s])/(?![*/])((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([dgimsuvy]*)(?=[.,;)\s\]])")


def test_no_pattern_of_the_page_scripts_takes_long() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on PATH")
    jobs = {}
    for path in sorted((ROOT / "static").rglob("*.js")):
        code = re.sub(r"(?m)^\s*(//|/?\*).*$", "", path.read_text())
        for source, flags in _LITERAL.findall(code):
            jobs[f"{path.name} /{source}/{flags}"] = [source, flags, False, [], hostile(source, LONGEST)]
    assert len(jobs) >= 5, "patterns are found"
    assert too_slow(timed([node, "-e", _NODE], jobs)) == {}


@pytest.mark.parametrize(
    "source",
    [
        r"[!-~]+/[!-~]+([ \t]*;[ \t]*[!-~]+=([!#-~]+|\"[\x20-\x7e]*\"))*[ \t]*",  # the one of media types, of long ago
        r"(a+)+",
        r"(a|aa)*",
        r"(\w+\s?)*",
        r"([a-z0-9]+[.-]?)+@",
    ],
)
def test_the_test_finds_what_is_catastrophic(source: str) -> None:
    job = [source, 0, False, ["match", "fullmatch"], hostile(source, 255)]
    assert too_slow(timed([sys.executable, "-c", _PYTHON], {"it": job}, patience_seconds=3))


def test_the_test_finds_what_is_quadratic() -> None:
    source = r"[a-z]+x"
    assert too_slow(
        timed([sys.executable, "-c", _PYTHON], {"it": [source, 0, False, ["search"], hostile(source, LONGEST)]}, patience_seconds=3)
    )
