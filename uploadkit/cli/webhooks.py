"""`webhooks`: deliveries, destinations, test events and secrets on the command line. JSON output is in the words of the API.

These commands write down what is to be done; a running appliance does it within `LOOK_AGAIN_SECONDS`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import get_args

import click

from uploadkit.auth.callers import COMMAND_LINE, Caller
from uploadkit.cli.output import as_text, emit, iso, json_option, open_installation, print_table, project_option
from uploadkit.cli.terminal import tell
from uploadkit.core import clock
from uploadkit.db.models import WebhookDelivery
from uploadkit.projects import service as projects
from uploadkit.schemas.base import DELETED
from uploadkit.schemas.webhooks import DeliveryInFull, DeliveryObject, DeliveryStatus, DestinationObject
from uploadkit.webhooks import outbox
from uploadkit.webhooks import secrets as webhook_secrets
from uploadkit.webhooks.dispatcher import LOOK_AGAIN_SECONDS

_test_option = click.option("--test", "test_sandbox", is_flag=True, help="In the sandbox of the test keys.")


def _caller(context: click.Context, project: str | None, test_sandbox: bool = False) -> Caller:
    """Who asks: the command line, for one project and environment."""
    open_installation(context)
    found = projects.find_by_id_or_slug(project)
    return replace(COMMAND_LINE, project_id=found.id, environment="test" if test_sandbox else "live")


@click.group("webhooks")
def webhooks_commands() -> None:
    """List, inspect, redeliver and test webhook deliveries; show and rotate their secrets."""


@webhooks_commands.command("list")
@click.option("--status", type=click.Choice(get_args(DeliveryStatus)), help="Only these; 'dead' is the dead letter queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@project_option
@_test_option
@json_option
@click.pass_context
def list_deliveries(context: click.Context, status: str | None, limit: int, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """List deliveries, newest first."""
    caller = _caller(context, project, test_sandbox)
    deliveries = [DeliveryObject.of(row) for row in outbox.list_deliveries(caller, status, limit, None).items]
    if as_json:
        tell(as_text(deliveries))
        return
    print_table(
        ("id", "event", "file", "url", "status", "attempts", "last error"),
        [(d.id, d.event, d.file_id or "", d.url, _status(d), str(d.attempts), d.last_error or "") for d in deliveries],
    )


def _status(delivery: DeliveryObject) -> str:
    return "pending (paused)" if delivery.paused else delivery.status


@webhooks_commands.command("show")
@click.argument("delivery_id")
@project_option
@_test_option
@json_option
@click.pass_context
def show_delivery(context: click.Context, delivery_id: str, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """Show a delivery with its payload and every attempt."""
    delivery = outbox.find_delivery(_caller(context, project, test_sandbox), delivery_id)
    answer = DeliveryInFull.in_full(delivery, outbox.attempts_of(delivery))
    emit(answer, _readable(as_text(answer, indent=2)), as_json=as_json)


def _readable(text: str) -> str:
    """JSON in which whatever a terminal would obey rather than show is escaped; what a receiver answered may be in it."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


@webhooks_commands.command("redeliver")
@click.argument("delivery_id")
@project_option
@_test_option
@json_option
@click.pass_context
def redeliver(context: click.Context, delivery_id: str, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """Have a delivery tried again, whatever became of it."""
    delivery = outbox.redeliver(_caller(context, project, test_sandbox), delivery_id)
    sentence = f"Queued; a running appliance sends it within {LOOK_AGAIN_SECONDS} seconds, also while its URL is paused."
    emit(DeliveryObject.of(delivery), sentence, as_json=as_json)


@webhooks_commands.command("delete")
@click.argument("delivery_id")
@project_option
@_test_option
@json_option
@click.pass_context
def delete_delivery(context: click.Context, delivery_id: str, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """Delete a delivery; one that waits is never sent."""
    outbox.delete_delivery(_caller(context, project, test_sandbox), delivery_id)
    emit(DELETED, f"Deleted delivery {delivery_id}.", as_json=as_json)


@webhooks_commands.command("test")
@click.option("--route", "route_slug", default="default", show_default=True, help="The file route whose webhookUrl gets it.")
@click.option("--wait", "wait_seconds", type=click.IntRange(0, 600), default=40, show_default=True, help="Seconds to wait for the outcome.")
@project_option
@_test_option
@json_option
@click.pass_context
def send_test(context: click.Context, route_slug: str, wait_seconds: int, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """Send a test event and say whether it arrived (exit code 1 if not). If it does, a paused destination goes on."""
    loaded = open_installation(context)
    caller = _caller(context, project, test_sandbox)
    delivery = outbox.send_test(loaded, caller, route_slug)
    until = clock.monotonic_ms() + wait_seconds * 1000
    while delivery.status in ("pending", "delivering") and clock.monotonic_ms() < until:
        time.sleep(0.2)
        delivery = outbox.find_delivery(caller, delivery.id)
    emit(DeliveryObject.of(delivery), _outcome(delivery), as_json=as_json)
    if delivery.status != "delivered":
        sys.exit(1)


def _outcome(delivery: WebhookDelivery) -> str:
    if delivery.status == "delivered":
        return f"It arrived: {delivery.destination.url} answered {delivery.last_status_code}."
    if delivery.status == "dead":
        return f"It did not arrive at {delivery.destination.url}: {delivery.last_error}"
    return f"It waits: 'webhooks show {delivery.id}' says how it went. Is the appliance running?"


@webhooks_commands.command("destinations")
@project_option
@_test_option
@json_option
@click.pass_context
def list_destinations(context: click.Context, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """List the URLs that events went to, and which of them are paused."""
    page = outbox.list_destinations(_caller(context, project, test_sandbox), 10_000, None)
    destinations = [DestinationObject.model_validate(row) for row in page.items]
    if as_json:
        tell(as_text(destinations))
        return
    print_table(
        ("id", "url", "dead in a row", "paused since"), [(d.id, d.url, str(d.dead_in_a_row), iso(d.paused_at) or "") for d in destinations]
    )


@webhooks_commands.command("resume")
@click.argument("destination_id")
@project_option
@_test_option
@json_option
@click.pass_context
def resume(context: click.Context, destination_id: str, project: str | None, test_sandbox: bool, as_json: bool) -> None:
    """End the pause of a destination: what waits is sent."""
    destination = outbox.resume(_caller(context, project, test_sandbox), destination_id)
    emit(DestinationObject.model_validate(destination), f"{destination.url} is not paused.", as_json=as_json)


@webhooks_commands.command("secrets")
@click.option("--rotate", is_flag=True, help="Make the next secret the current one, and a new next one.")
@project_option
@json_option
@click.pass_context
def secrets(context: click.Context, rotate: bool, project: str | None, as_json: bool) -> None:
    """Show the two secrets that receivers verify with. Both go to every receiver, so that a rotation breaks none."""
    caller = _caller(context, project)
    found = (webhook_secrets.rotate_secrets if rotate else webhook_secrets.show_secrets)(caller, caller.project_id)
    if as_json:
        tell(json.dumps({"current": found.current, "next": found.next}))
    else:
        tell(f"current  {found.current}\nnext     {found.next}")
