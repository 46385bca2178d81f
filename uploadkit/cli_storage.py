"""The commands about the object store: `doctor`."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape

from uploadkit import config, diagnosis
from uploadkit.db import open_database
from uploadkit.storage.doctor import Finding
from uploadkit.storage.opening import reached_store

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command()
@click.option("--fix", is_flag=True, help="Set the bucket's CORS and lifecycle rules where they are wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, fix: bool, as_json: bool) -> None:
    """Prove the storage settings against the real bucket, and say what to do. Leaves nothing in it; exit code 1 when a check failed."""
    os.umask(0o077)
    # As Ctrl-C, so that the bucket is cleared.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loaded = config.load(context.find_root().obj)
    if loaded.database_path.exists():
        open_database(loaded, upgrade=False)
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    with (
        reached_store(loaded, lambda message: click.echo(message, err=True)) as store,
        closing(diagnosis.examine(loaded, store, fix=fix)) as examination,
    ):
        for finding in examination:
            findings.append(finding)
            if not as_json:
                _show(console, finding)
    failed = [finding.name for finding in findings if finding.outcome == "failed"]
    if as_json:
        click.echo(json.dumps({"ok": not failed, "bucket": store.address.bucket, "checks": [asdict(finding) for finding in findings]}))
    else:
        console.print(
            f"\n{len(failed)} check(s) failed: {', '.join(failed)}" if failed else f"\nBucket {store.address.bucket} is in order."
        )
    sys.exit(1 if failed else 0)


def _show(console: Console, finding: Finding) -> None:
    style = _STYLES[finding.outcome]
    console.print(f"[{style}]{finding.outcome:<8}[/{style}] {finding.name:<19} {escape(finding.detail)}")
    if finding.mend and finding.outcome != "ok":
        console.print(f"{'':<9}{'':<19} → {escape(finding.mend)}")
