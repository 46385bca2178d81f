"""Webhooks over the wire: a real appliance, real receivers, the verifiers that receivers use, the API and the command line."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from qstash import Receiver as CloudReceiver
from standardwebhooks import Webhook

from tests.support.appliance import JPEG, Answer, Appliance, running, wait_until
from tests.support.receivers import Receiver, answering, receiving

pytestmark = pytest.mark.long

ALL_EVENTS = ["onUploadComplete", "file.failed", "file.deleted"]
ALLOWED = {"WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]'}


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance that may call receivers on this machine, and tries only once, then once more after a second."""
    settings = ALLOWED | {"WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1]", "TIERS__PRO__MAX_KEYS": "1000"}
    with running(tmp_path_factory.mktemp("webhooks"), **settings) as appliance:
        yield appliance


class Project:
    """A project of its own with a live and a test key, whose file route `default` tells `receiver`."""

    def __init__(self, appliance: Appliance, receiver: Receiver, events: list[str] | None = None) -> None:
        self.appliance = appliance
        made = appliance.call("POST", "/projects", {"name": "Hooks"}).json
        self.id, self.slug = made["id"], made["slug"]
        self.key = appliance.call("POST", f"/projects/{self.id}/keys", {"name": "x"}).json["key"]
        self.test_key = appliance.call("POST", f"/projects/{self.id}/keys", {"name": "x", "environment": "test"}).json["key"]
        (self.route,) = self.call("GET", f"/projects/{self.id}/file-routes").json["items"]
        changed = self.call(
            "PATCH", f"/file-routes/{self.route['id']}", {"webhookUrl": receiver.url, "webhookEvents": events or ALL_EVENTS}
        )
        assert changed.status == 200, changed.body

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        return self.appliance.call(method, path, body, key=key or self.key)

    def upload(self, key: str | None = None) -> dict[str, Any]:
        return self.appliance.upload(JPEG, key=key or self.key)

    def run(self, *arguments: str) -> Any:
        done = self.appliance.run("webhooks", arguments[0], "--project", self.slug, "--json", *arguments[1:])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def deliveries(self, status: str = "", key: str | None = None) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/webhooks/deliveries?limit=100{status and f'&status={status}'}", key=key).json["items"])


def test_an_upload_is_told_within_a_second_and_verifies(sender: Appliance) -> None:
    with receiving() as receiver:
        project = Project(sender, receiver)
        secrets = project.run("secrets")
        file = project.upload()
        done = time.time()
        wait_until(lambda: receiver.received, what="the webhook")
        (received,) = receiver.received
        assert received.at - done < 1
        cloud = CloudReceiver(secrets["current"], secrets["next"])
        cloud.verify(signature=received.headers["Upstash-Signature"], body=received.body.decode(), url=receiver.url)
        for secret in secrets.values():
            Webhook(secret).verify(received.body, dict(received.headers))
        body = received.json
        assert set(body) == {"id", "event", "createdAt", "projectId", "environment", "file", "metadata"}
        assert (body["event"], body["file"]["id"], body["file"]["url"]) == ("onUploadComplete", file["id"], file["url"])
        assert received.headers["webhook-id"] == body["id"]
        (event,) = project.call("GET", "/events").json["items"]
        assert event == {"sequence": event["sequence"], **body}, "the feed tells the same"
        sender.complete({"fileId": file["id"]}, key=project.key)
        project.call("DELETE", f"/files/{file['key']}")
        wait_until(lambda: len(receiver.received) == 2, what="the deletion")
        assert receiver.received[1].json["event"] == "file.deleted"


def test_rotated_secrets_are_signed_with_at_once(sender: Appliance) -> None:
    with receiving() as receiver:
        project = Project(sender, receiver)
        before = project.run("secrets")
        after = project.run("secrets", "--rotate")
        assert after["current"] == before["next"]
        project.upload()
        wait_until(lambda: receiver.received, what="the webhook")
        received = receiver.received[0]
        CloudReceiver(before["current"], before["next"]).verify(
            signature=received.headers["Upstash-Signature"], body=received.body.decode()
        )
        Webhook(before["next"]).verify(received.body, dict(received.headers))
        text = sender.run("webhooks", "secrets", "--project", project.slug).stdout
        assert after["current"] in text
        for secret in (*before.values(), *after.values()):
            assert secret not in sender.log()
            assert secret.encode() not in project.call("GET", f"/webhooks/deliveries/{project.deliveries()[0]['id']}").body


def test_a_retry_comes_by_itself_and_a_dead_one_can_be_redelivered(sender: Appliance) -> None:
    with receiving(answering(500)) as receiver:
        project = Project(sender, receiver)
        file = project.upload()
        wait_until(lambda: project.deliveries("dead"), what="the delivery to be given up")
        assert len(receiver.received) == 2
        assert 0.9 < receiver.received[1].at - receiver.received[0].at < 2
        (dead,) = project.deliveries("dead")
        assert (dead["fileId"], dead["attempts"], dead["lastStatusCode"], dead["nextAttemptAt"]) == (file["id"], 2, 500, None)
        full = project.call("GET", f"/webhooks/deliveries/{dead['id']}").json
        assert full["payload"]["id"] == dead["eventId"]
        assert [(a["statusCode"], a["responseExcerpt"]) for a in full["history"]] == [(500, "answer")] * 2
        assert full["history"][0]["requestHeaders"]["webhook-id"] == dead["eventId"]
        receiver.answer = answering(204)
        again = project.call("POST", f"/webhooks/deliveries/{dead['id']}/redeliver")
        assert again.status == 202
        wait_until(lambda: project.deliveries("delivered"), what="the redelivery")
        assert set(receiver.ids) == {dead["eventId"]}
        assert project.call("DELETE", f"/webhooks/deliveries/{dead['id']}").json == {"deleted": True}
        assert project.call("GET", f"/webhooks/deliveries/{dead['id']}").code == "NOT_FOUND"
        assert project.deliveries() == []


def test_a_receiver_that_hangs_holds_up_nobody(sender: Appliance) -> None:
    with receiving() as slow, receiving() as quick:
        one, other = Project(sender, slow), Project(sender, quick)
        one.upload()
        wait_until(lambda: one.deliveries("delivered"), what="the first delivery")
        slow.answer = slow.hang
        for _ in range(5):
            one.upload()
        wait_until(lambda: len(slow.received) == 3, what="two in flight, and no more")
        for count in range(1, 11):
            other.upload()
            done = time.time()
            wait_until(lambda count=count: len(quick.received) == count, what="the quick one")  # type: ignore[misc]
            assert quick.received[-1].at - done < 1
        assert len(slow.received) == 3
        statuses = sorted(delivery["status"] for delivery in one.deliveries())
        assert statuses == ["delivered", "delivering", "delivering", "pending", "pending", "pending"]
        busy = one.deliveries("delivering")[0]["id"]
        for method, path in (("POST", f"/webhooks/deliveries/{busy}/redeliver"), ("DELETE", f"/webhooks/deliveries/{busy}")):
            assert one.call(method, path).code == "CONFLICT"


def test_receivers_that_hang_hold_up_nobody(sender: Appliance) -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(receiving()) for _ in range(8)]
        quick = stack.enter_context(receiving())
        for receiver in hanging:
            receiver.answer = receiver.hang
            project = Project(sender, receiver)
            for _ in range(5):
                project.upload()
        wait_until(lambda: all(receiver.received for receiver in hanging), what="all of them to be called")
        other = Project(sender, quick)
        for count in range(1, 6):
            other.upload()
            done = time.time()
            wait_until(lambda count=count: len(quick.received) == count, what="the quick one")  # type: ignore[misc]
            assert quick.received[-1].at - done < 1


def test_due_at_noon_is_sent_within_a_second(sender: Appliance) -> None:
    """An idle scheduler, a delivery whose time comes in three seconds, put there as a failed attempt would have."""
    with receiving(answering(503, Retry_After="3")) as receiver:
        project = Project(sender, receiver)
        project.upload()
        wait_until(lambda: len(receiver.received) == 1 and project.deliveries("pending"), what="the first attempt")
        (waiting,) = project.deliveries()
        receiver.answer = answering(200)
        wait_until(lambda: project.deliveries("delivered"), what="the second attempt")
        with closing(sqlite3.connect(sender.data_dir / "uploadkit.db")) as connection:
            (started,) = connection.execute(
                "SELECT max(started_at) FROM webhook_attempt WHERE delivery_id = ?", (waiting["id"],)
            ).fetchone()
        due = time.strptime(waiting["nextAttemptAt"][:19], "%Y-%m-%dT%H:%M:%S")
        late = started / 1000 - (time.mktime(due) - time.timezone + float(waiting["nextAttemptAt"][19:23]))
        assert 0 <= late < 1


def test_the_sandbox_is_apart(sender: Appliance) -> None:
    with receiving() as receiver:
        project = Project(sender, receiver)
        live, test = project.upload(), project.upload(project.test_key)
        wait_until(lambda: len(receiver.received) == 2, what="both webhooks")
        by_file = {received.json["file"]["id"]: received.json["environment"] for received in receiver.received}
        assert by_file == {live["id"]: "live", test["id"]: "test"}
        for key, own, other in ((project.key, live, test), (project.test_key, test, live)):
            for path in ("/webhooks/deliveries", "/events"):
                seen = project.call("GET", path, key=key).body.decode()
                assert own["id"] in seen
                assert other["id"] not in seen
            (delivery,) = project.deliveries(key=key)
            other_key = project.test_key if key == project.key else project.key
            for method, path in (("GET", ""), ("POST", "/redeliver"), ("DELETE", "")):
                assert project.call(method, f"/webhooks/deliveries/{delivery['id']}{path}", key=other_key).status == 404
            (destination,) = project.call("GET", "/webhooks/destinations", key=key).json["items"]
            assert project.call("POST", f"/webhooks/destinations/{destination['id']}/resume", key=other_key).status == 404


def test_events_catch_up_without_webhooks(sender: Appliance) -> None:
    with receiving() as receiver:
        project = Project(sender, receiver)
        files = [project.upload()["id"] for _ in range(5)]
        first = project.call("GET", "/events?limit=2").json
        assert [e["file"]["id"] for e in first["items"]] == files[:2]
        assert first["hasMore"] is True
        rest = project.call("GET", f"/events?after={first['nextAfter']}&limit=100").json
        assert [e["file"]["id"] for e in rest["items"]] == files[2:]
        assert rest["hasMore"] is False
        end = project.call("GET", f"/events?after={rest['nextAfter']}").json
        assert end == {"items": [], "nextAfter": rest["nextAfter"], "hasMore": False, "gap": False}
        for bad in ("after=x", "after=-1", "limit=0", "limit=101", f"after={2**63}"):
            assert project.call("GET", f"/events?{bad}").code == "VALIDATION_ERROR"


def test_a_refused_address_is_told_at_set_up_and_at_delivery(tmp_path: Path) -> None:
    with receiving() as receiver, running(tmp_path) as appliance:
        (route,) = appliance.call("GET", f"/projects/{_project(appliance)}/file-routes").json["items"]
        refused = appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": receiver.url})
        assert (refused.status, refused.code) == (400, "VALIDATION_ERROR")
        assert 'allowed_private_cidrs = ["127.0.0.1/32"]' in refused.json["error"]["suggestion"]
        cli = appliance.run("routes", "create", "x", "--webhook-url", receiver.url)
        assert cli.returncode == 1
        assert "webhooks.allowed_private_cidrs" in cli.stderr
        # It was allowed once, say: what counts is what is allowed at the delivery.
        with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db", timeout=10)) as connection, connection:
            connection.execute("UPDATE file_route SET webhook_url = ?", (receiver.url,))
        appliance.upload(JPEG)
        wait_until(lambda: appliance.call("GET", "/webhooks/deliveries").json["items"][0]["lastError"], what="the attempt")
        error = appliance.call("GET", "/webhooks/deliveries").json["items"][0]["lastError"]
        assert error.startswith("Refused: 127.0.0.1 is not a public address")
        assert 'allowed_private_cidrs = ["127.0.0.1/32"]' in error
        assert receiver.received == []


def _project(appliance: Appliance) -> str:
    return str(json.loads(appliance.run("projects", "list", "--json").stdout)[0]["id"])


def test_pause_test_event_and_resume(tmp_path: Path) -> None:
    settings = ALLOWED | {"WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[]", "WEBHOOKS__PAUSE_AFTER_DEAD_DELIVERIES": "3"}
    with receiving(answering(500)) as receiver, running(tmp_path, **settings) as appliance:
        project = Project(appliance, receiver, ["onUploadComplete"])
        for _ in range(3):
            project.upload()

        def destination() -> dict[str, Any]:
            (found,) = project.call("GET", "/webhooks/destinations").json["items"]
            return dict(found)

        wait_until(lambda: destination()["pausedAt"], what="the pause")
        project.upload()
        assert [d["paused"] for d in project.deliveries()] == [True, False, False, False]
        failed = appliance.run("webhooks", "test", "--project", project.slug)
        assert failed.returncode == 1
        assert "answered 500" in failed.stdout
        assert destination()["pausedAt"]
        receiver.answer = answering(200)
        asked = project.call("POST", "/webhooks/test", {})
        assert (asked.status, asked.json["event"], asked.json["fileId"]) == (202, "webhook.test", None)
        wait_until(lambda: not project.deliveries("pending"), what="what waited to be sent")
        assert destination()["pausedAt"] is None
        assert destination()["deadInARow"] == 0
        receiver.answer = answering(500)
        for _ in range(3):
            project.upload()
        wait_until(lambda: destination()["pausedAt"], what="the second pause")
        waiting = project.upload()
        receiver.answer = answering(200)
        assert project.call("POST", f"/webhooks/destinations/{destination()['id']}/resume").json["pausedAt"] is None
        wait_until(lambda: any(d["fileId"] == waiting["id"] for d in project.deliveries("delivered")), what="what waited to be sent")


def test_the_command_line(sender: Appliance) -> None:
    with receiving(answering(500)) as receiver:
        project = Project(sender, receiver)
        project.upload()
        wait_until(lambda: project.deliveries("dead"), what="the delivery to be given up")
        (listed,) = project.run("list", "--status", "dead")
        assert listed == project.deliveries()[0]
        assert project.run("list", "--test") == []
        table = sender.run("webhooks", "list", "--project", project.slug).stdout
        assert all(text in table for text in (listed["id"], "onUploadComplete", "dead", receiver.url, "The receiver answered 500"))
        rendered = project.run("show", listed["id"])
        assert rendered == project.call("GET", f"/webhooks/deliveries/{listed['id']}").json
        assert json.loads(sender.run("webhooks", "show", listed["id"], "--project", project.slug).stdout) == rendered
        receiver.answer = lambda handler, received: handler.reply(200, "é\u009b31m\u202e\x1b[2J\U000e0001".encode())
        assert project.run("redeliver", listed["id"])["status"] == "pending"
        wait_until(lambda: project.deliveries("delivered"), what="the redelivery, asked for by another process")
        readable = sender.run("webhooks", "show", listed["id"], "--project", project.slug).stdout
        assert "é" in readable
        assert all(character.isprintable() or character == "\n" for character in readable), "no terminal obeys what a receiver said"
        assert json.loads(readable) == project.run("show", listed["id"])
        assert project.run("test")["status"] == "delivered"
        assert receiver.received[-1].json["event"] == "webhook.test"
        reported = sender.run("webhooks", "test", "--project", project.slug)
        assert reported.stdout.strip() == f"It arrived: {receiver.url} answered 200."
        (destination,) = project.run("destinations")
        assert project.run("resume", destination["id"])["pausedAt"] is None
        assert destination["id"] in sender.run("webhooks", "destinations", "--project", project.slug).stdout
        assert project.run("delete", listed["id"]) == {"deleted": True}
        for arguments, words in {
            ("show", listed["id"]): "no webhook delivery",
            ("resume", listed["id"]): "no webhook destination",
            ("test", "--route", "nowhere"): "no file route",
        }.items():
            refused = sender.run("webhooks", *arguments, "--project", project.slug)
            assert refused.returncode == 1
            assert words in refused.stderr
            assert len(refused.stderr.strip().splitlines()) == 1


# call → what becomes of it for: the project's own live key, its test key, another project's key, an account key of another project.
Call = Callable[[dict[str, str]], tuple[str, str, Any]]
HIDDEN = (404, "NOT_FOUND")
ENDPOINTS: dict[str, tuple[Call, int, tuple[int, str] | None]] = {
    "events": (lambda ids: ("GET", "/events", None), 200, None),
    "deliveries": (lambda ids: ("GET", "/webhooks/deliveries", None), 200, None),
    "delivery": (lambda ids: ("GET", f"/webhooks/deliveries/{ids['delivery']}", None), 200, HIDDEN),
    "redeliver": (lambda ids: ("POST", f"/webhooks/deliveries/{ids['delivery']}/redeliver", None), 202, HIDDEN),
    "destinations": (lambda ids: ("GET", "/webhooks/destinations", None), 200, None),
    "resume": (lambda ids: ("POST", f"/webhooks/destinations/{ids['destination']}/resume", None), 200, HIDDEN),
    "test": (lambda ids: ("POST", "/webhooks/test", {"routeSlug": "hooked"}), 202, None),
    "delete": (lambda ids: ("DELETE", f"/webhooks/deliveries/{ids['delivery']}", None), 200, HIDDEN),
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_each_endpoint_as_everybody(sender: Appliance, name: str) -> None:
    call, owners_status, others = ENDPOINTS[name]
    with receiving() as receiver:
        project = Project(sender, receiver)
        project.call("POST", f"/projects/{project.id}/file-routes", {"slug": "hooked", "webhookUrl": receiver.url})
        file = project.upload()
        wait_until(lambda: project.deliveries("delivered"), what="the delivery")
        destinations = project.call("GET", "/webhooks/destinations").json["items"]
        ids = {"delivery": project.deliveries()[0]["id"], "destination": destinations[0]["id"]}
        method, path, body = call(ids)
        nowhere = call(dict.fromkeys(ids, "0" * 36))
        outsider = Project(sender, receiver)
        for key in (outsider.key, sender.key, project.test_key):
            answer = sender.call(method, path, body, key=key)
            if others:
                assert (answer.status, answer.code) == others
                unknown = sender.call(*nowhere, key=key)
                assert (unknown.status, unknown.code) == others, "a outsider must not learn that it exists"
            elif name != "test":
                assert answer.status == owners_status
                assert file["id"].encode() not in answer.body
            else:
                assert answer.status == (202 if key == project.test_key else 404)
        for key in ("", "uk_live_" + "x" * 32, "nonsense"):
            assert sender.call(method, path, body, key=key).code == "UNAUTHORIZED"
        revoked = sender.call("POST", f"/projects/{project.id}/keys", {"name": "x"}).json
        sender.call("DELETE", f"/keys/{revoked['id']}")
        assert sender.call(method, path, body, key=revoked["key"]).code == "UNAUTHORIZED"
        assert project.call(method, path, body).status == owners_status
