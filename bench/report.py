"""How figures are told: on the terminal, in `results.json`, and in docs/performance.md between two markers."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench.measure import Effort, Figure

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: python -m bench --write-docs -->\n", "<!-- end of figures -->\n"
HEADINGS = ("", "ours", "theirs", "beside", "ours ÷ theirs", "lowest to highest", "target")


def show(name: str, figures: list[Figure]) -> None:
    """Print one comparison as a table."""
    table = Table(name, *HEADINGS[1:])
    for one in figures:
        table.add_row(*_cells(one))
    Console(width=180).print(table)


def write_down(name: str, effort: Effort, figures: list[Figure]) -> None:
    """Put one comparison in the place of what was written of it before, and leave the others."""
    results = _read()
    results["machine"] = _machine()
    results["comparisons"][name] = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "rounds": effort.rounds,
        "figures": [asdict(one) for one in figures],
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def write_docs(names: Sequence[str]) -> None:
    """Refresh the tables of docs/performance.md with what is written down, in the order of `names`."""
    results = _read()
    machine, comparisons = results["machine"], results["comparisons"]
    if not comparisons:
        raise SystemExit(f"There are no figures in {RESULTS} yet: run make bench first")
    lines = [
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 1024**3:.0f} GiB, {machine['system']}, "
        f"Python {machine['python']}."
    ]
    for name in filter(comparisons.__contains__, names):
        found = comparisons[name]
        lines += ["", f"**{name}**, {found['at'][:10]}, {found['rounds']} rounds in turns:", ""]
        lines += [_row(HEADINGS), _row(["---"] * len(HEADINGS)), *(_row(_cells(Figure(**one))) for one in found["figures"])]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{chr(10).join(lines)}\n{END}{rest.partition(END)[2]}")


def _cells(one: Figure) -> list[str]:
    target = one.target if one.met else f"{one.target}: missed"
    return [one.name, _amount(one.ours, one.unit), _amount(one.theirs, one.unit), one.beside, f"{one.ratio:.2f}", _span(one), target]


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def _span(one: Figure) -> str:
    return f"{one.lowest:.2f} to {one.highest:.2f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read() -> dict[str, Any]:
    if RESULTS.exists():
        return dict(json.loads(RESULTS.read_text()))
    return {"machine": {}, "comparisons": {}}


def _machine() -> dict[str, str | int]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": cpu or platform.processor(),
        "cores": psutil.cpu_count() or 0,
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
    }
