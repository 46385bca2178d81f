"""`usage verify`: hold the counters against the rows that they count, on a running appliance, too."""

from __future__ import annotations

import sys

import click

from uploadkit.cli.output import as_text, json_option, open_installation
from uploadkit.cli.terminal import tell
from uploadkit.projects import usage
from uploadkit.schemas.usage import CounterDifference, UsageVerified


@click.group("usage")
def usage_commands() -> None:
    """Check what projects use."""


@usage_commands.command("verify")
@click.option("--fix", is_flag=True, help="Set counters that differ to what the rows say.")
@json_option
@click.pass_context
def verify(context: click.Context, fix: bool, as_json: bool) -> None:
    """Recompute storage, reservations and monthly use from the file rows, and report counters that differ (exit code 1)."""
    open_installation(context)
    found = usage.repair() if fix else usage.find_differences()
    if as_json:
        tell(as_text(UsageVerified(fixed=fix, differences=[CounterDifference.of(difference) for difference in found])))
    else:
        for difference in found:
            tell(_line(difference))
        tell(f"{len(found)} {'set right' if fix else 'differ'}." if found else "All counters agree with the rows.")
    if found and not fix:
        sys.exit(1)


def _line(difference: usage.Difference) -> str:
    where = " ".join(part for part in (difference.project_id, difference.environment, difference.period) if part)
    return f"{where}: {difference.counter} is {difference.counted}, the rows say {difference.recomputed}"
