"""`make bench`: run the comparisons, print their tables, write them to `bench/results.json`. Exit code 1 when a target is missed.

`python -m bench api pages` runs some of them and leaves the others' figures as they are written down; `--quick` measures shorter and
coarser; `--write-docs` brings docs/performance.md up to date afterwards, and measures nothing itself when it stands alone.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from bench import report
from bench.measure import FULL, QUICK

COMPARISONS = ("api", "uploads", "transfer", "pages", "signing", "webhooks", "process")


def main() -> None:
    """Measure, show, write down."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure ourselves beside others, in turns.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(COMPARISONS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, smaller sizes; for a look, not for the record")
    parser.add_argument("--write-docs", action="store_true", help="refresh the tables of docs/performance.md")
    given = parser.parse_args()
    if unknown := set(given.names) - set(COMPARISONS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    effort, missed = QUICK if given.quick else FULL, []
    for name in given.names or (() if given.write_docs else COMPARISONS):
        figures = import_module(f"bench.{name}").measure(effort)
        report.show(name, figures)
        report.write_down(name, effort, figures)
        missed += [one for one in figures if not one.met]
    if given.write_docs:
        report.write_docs(COMPARISONS)
    for one in missed:
        print(f"missed its target: {one.name}: {one.ratio:.2f} × {one.beside}, should be {one.target}", file=sys.stderr)  # noqa: T201
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
