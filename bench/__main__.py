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

from bench.pages import FILES, TARGET_SECONDS, page_times
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
    pages = page_times()
    table = Table(f"page, with {FILES:,} files", "first", "median", "worst", "target")
    for page in pages:
        times = (f"{seconds * 1000:.1f} ms" for seconds in (page.first_seconds, page.median_seconds, page.worst_seconds))
        table.add_row(page.path, *times, f"median < {TARGET_SECONDS * 1000:.0f} ms")
    Console(width=140).print(table)
    results = {"machine": machine, "comparisons": [asdict(one) for one in found], "pages": [asdict(page) for page in pages]}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    missed = [one.name for one in found if one.target is not None and one.ratio < one.target]
    missed += [page.path for page in pages if page.median_seconds >= TARGET_SECONDS]
    for name in missed:
        Console(stderr=True).print(f"missed its target: {name}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
