"""Run every comparison, print one table, and write it to `bench/results.json`. Exit code 1 when a target is missed."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.signing import part_urls

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Measure, show, write down."""
    machine = {
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    found = [measure() for measure in (part_urls,)]
    table = Table("what", "ours", "theirs", "times faster", "lowest to highest", "target")
    for one in found:
        figures = (f"{one.ours_seconds * 1000:.1f} ms", f"{one.theirs_seconds * 1000:.1f} ms", f"{one.ratio:.1f}")
        table.add_row(one.name, *figures, f"{one.lowest:.1f} to {one.highest:.1f}", "" if one.target is None else f"≥ {one.target:g}")
    Console(width=140).print(table)
    RESULTS.write_text(json.dumps({"machine": machine, "comparisons": [asdict(one) for one in found]}, indent=2) + "\n")
    missed = [one.name for one in found if one.target is not None and one.ratio < one.target]
    for name in missed:
        Console(stderr=True).print(f"missed its target: {name}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
