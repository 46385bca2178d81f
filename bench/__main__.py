"""`make bench`: run the comparisons, print one table, write it to `bench/results.json`. Exit code 1 when a target is missed.

`python -m bench api pages` runs some of them (and keeps the other figures that are written down), `--quick` measures shorter and coarser.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.measure import FULL, QUICK, Figure

COMPARISONS = ("api", "uploads", "transfer", "pages", "signing", "webhooks", "process")
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Measure, show, write down."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(COMPARISONS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; for a look, not for the record")
    given = parser.parse_args()
    if unknown := set(given.names) - set(COMPARISONS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    effort = QUICK if given.quick else FULL
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and given.names else {}
    results = {"machine": _machine(), "comparisons": results.get("comparisons", {})}
    missed = []
    for name in given.names or COMPARISONS:
        figures = import_module(f"bench.{name}").measure(effort)
        _show(name, figures)
        results["comparisons"][name] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": effort.rounds,
            "figures": [asdict(one) for one in figures],
        }
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        missed += [one for one in figures if not one.met]
    for one in missed:
        Console(stderr=True, soft_wrap=True).print(f"missed its target: {one.name}: {one.ratio:.2f} × {one.beside}, should be {one.target}")
    sys.exit(bool(missed))


def _machine() -> dict[str, str | int]:
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": cpu or platform.processor(),
        "cores": psutil.cpu_count() or 0,
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _show(name: str, figures: list[Figure]) -> None:
    table = Table(name, "ours", "theirs", "beside", "ours ÷ theirs", "lowest to highest", "target")
    for one in figures:
        told = (f"{one.ours:,.1f} {one.unit}", f"{one.theirs:,.1f} {one.unit}", one.beside, f"{one.ratio:.2f}")
        table.add_row(one.name, *told, f"{one.lowest:.2f} to {one.highest:.2f}", one.target + ("" if one.met else "  missed"))
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
