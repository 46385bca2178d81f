"""Webhooks: deliveries with every attempt, destinations that are paused, test events, signing secrets."""

from __future__ import annotations

import json

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit.projects import file_routes
from uploadkit.schemas.webhooks import DeliveryListQuery
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import administrator, caller, project
from uploadkit.web.dashboard.notices import leave_notice
from uploadkit.web.requests import context
from uploadkit.webhooks import outbox
from uploadkit.webhooks import secrets as webhook_secrets

STATUSES = ("pending", "delivering", "delivered", "dead")
_MOST_DESTINATIONS = 100


@project.get("/webhooks")
def list_deliveries() -> tuple[str, int]:
    """List deliveries, newest first, and the destinations that they go to."""
    found = forms.listed(lambda cursor: outbox.list_deliveries(caller(), _status(), forms.MOST_ON_A_PAGE, cursor))
    page = render_template(
        "dashboard/webhooks.html",
        page=found.page,
        refused=found.refused,
        statuses=STATUSES,
        destinations=outbox.list_destinations(caller(), _MOST_DESTINATIONS, None).items,
        routes=[route for route in file_routes.all_file_routes(g.project.id) if route.webhook_url],
    )
    return page, found.status


def _status() -> str | None:
    """The status that is asked for in the address. Raises ValidationFailed."""
    return forms.validated(DeliveryListQuery, {"status": request.args.get("status") or None}).status


@project.get("/webhooks/deliveries/<delivery_id>")
def show_delivery(delivery_id: str) -> str:
    """Show a delivery with its payload and every attempt."""
    delivery = outbox.find_delivery(caller(), delivery_id)
    attempts = outbox.attempts_of(delivery)
    return render_template("dashboard/delivery.html", delivery=delivery, payload=json.loads(delivery.payload), attempts=attempts)


@project.post("/webhooks/deliveries/<delivery_id>/redeliver")
def redeliver(delivery_id: str) -> Response:
    """Have a delivery tried again."""
    outbox.redeliver(caller(), delivery_id)
    context().signals.wake_webhooks()
    leave_notice("It is being sent again, with all its retries.")
    return redirect(url_for(".show_delivery", delivery_id=delivery_id))


@project.post("/webhooks/deliveries/<delivery_id>/delete")
def delete_delivery(delivery_id: str) -> Response:
    """Delete a delivery."""
    outbox.delete_delivery(caller(), delivery_id)
    leave_notice("Deleted the delivery.")
    return redirect(url_for(".list_deliveries"))


@project.post("/webhooks/test")
def send_test_event() -> Response:
    """Send a test event to a file route's webhook URL."""
    delivery = outbox.send_test(context().config, caller(), forms.text("route"))
    context().signals.wake_webhooks()
    leave_notice("The test event is on its way. It is tried once.")
    return redirect(url_for(".show_delivery", delivery_id=delivery.id))


@project.post("/webhooks/destinations/<destination_id>/resume")
def resume_destination(destination_id: str) -> Response:
    """End the pause of a destination."""
    outbox.resume(caller(), destination_id)
    context().signals.wake_webhooks()
    leave_notice("The pause is over: waiting deliveries are being sent.")
    return redirect(url_for(".list_deliveries"))


@project.get("/webhooks/secrets")
def show_secrets() -> str:
    """Show the secrets that deliveries are signed with."""
    return render_template("dashboard/secrets.html", secrets=webhook_secrets.show_secrets(administrator(), g.project.id))


@project.post("/webhooks/secrets/rotate")
def rotate_secrets() -> Response:
    """Make the next secret the current one."""
    webhook_secrets.rotate_secrets(administrator(), g.project.id)
    leave_notice("Rotated. Give your receivers the new next secret before you rotate again.")
    return redirect(url_for(".show_secrets"))
