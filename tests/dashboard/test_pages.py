"""What admins do on each page, over HTTP without a script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.dashboard.visitors import EMAIL, Visitor, new_admin, read, wrong
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.receivers import answering, ok, receiving
from uploadkit.core.sizes import MIB


class Project:
    """A project made by a form, with the addresses of its pages."""

    def __init__(self, admin: Visitor, name: str) -> None:
        self.admin = admin
        assert admin.post("/dashboard/projects", name=name, tier="pro").status == 200
        rows = admin.appliance.call("GET", "/projects?limit=100").json["items"]
        self.row = next(row for row in rows if row["name"] == name)
        self.here = f"/dashboard/p/{self.row['slug']}/live"
        self.test = f"/dashboard/p/{self.row['slug']}/test"

    def new_key(self, **fields: str) -> str:
        given = {"name": "k", "environment": "live", "access": "project"} | fields
        page = self.admin.post(f"{self.here}/keys", **given)
        found = re.search(rb'value="(uk_(?:live|test)_[\w-]{32})"', page.body)
        assert found, page.body
        return found[1].decode()


@pytest.fixture
def photos(admin: Visitor, request: pytest.FixtureRequest) -> Project:
    return Project(admin, request.node.name)


def test_a_key_is_shown_once_and_revoked(with_admins: Appliance, photos: Project) -> None:
    admin = photos.admin
    page = admin.post(f"{photos.here}/keys", name="Production server", environment="live", access="project")
    key = re.search(rb"uk_live_[\w-]{32}", page.body)
    assert key
    assert b"UPLOADKIT_API_KEY=" + key[0] in page.body
    assert b"1 of 1000 in use" in page.body
    again = admin.get(f"{photos.here}/keys").body
    assert key[0] not in again, "gone after a reload"
    masked = key[0][:11] + b"..." + key[0][-6:]
    assert masked in again
    assert b"Production server" in again
    assert with_admins.call("GET", "/files", key=key[0].decode()).status == 200
    page = admin.get(f"{photos.here}/keys")
    assert admin.submit(page, "/revoke").status == 200
    assert with_admins.call("GET", "/files", key=key[0].decode()).status == 401
    assert masked in admin.get(f"{photos.here}/keys?revoked=1").body
    assert photos.new_key(environment="test").startswith("uk_test_")
    refused = admin.post(f"{photos.here}/keys", name="x", environment="test", access="account")
    assert (refused.status, b"test key" in refused.body) == (403, True)


def test_the_tiers_number_of_keys(photos: Project) -> None:
    photos.admin.submit(photos.admin.get(f"{photos.here}/settings"), "/settings", tier="free")
    photos.new_key()
    photos.new_key()
    refused = photos.admin.post(f"{photos.here}/keys", name="third", environment="live", access="project")
    assert (refused.status, b"Revoke a key" in refused.body) == (403, True)
    assert b'value="third"' in refused.body, "what was typed is kept"


def test_project_settings(with_admins: Appliance, photos: Project) -> None:
    admin, path = photos.admin, f"{photos.here}/settings"
    form = {
        "name": "Renamed & more",
        "retention_days": "30",
        "limits.max_storage": "1TB",
        "limits.max_keys": "unlimited",
        "limits.max_file_size": "5MB",
    }
    page = admin.submit(admin.get(path), "/settings", **form)
    assert page.status == 200
    changed = with_admins.call("GET", f"/projects/{photos.row['id']}").json
    assert (changed["name"], changed["retentionDays"]) == ("Renamed & more", 30)
    assert (changed["limits"]["maxStorage"], changed["limits"]["maxKeys"], changed["limits"]["maxFileSize"]) == (1024**4, None, 5 * MIB)
    assert all(text in page.body for text in (b'value="1TB"', b'value="unlimited"', b'value="5MB"', b'value="30"'))
    unchanged = admin.submit(page, "/settings")
    assert unchanged.status == 200
    assert with_admins.call("GET", f"/projects/{photos.row['id']}").json["limits"] == changed["limits"]
    admin.submit(page, "/settings", **{"limits.max_storage": "", "retention_days": ""})
    changed = with_admins.call("GET", f"/projects/{photos.row['id']}").json
    assert (changed["limits"]["maxStorage"], changed["retentionDays"]) == (100 * 1024**3, None)
    for field, value in (
        ("name", ""),
        ("retention_days", "soon"),
        ("limits.max_keys", "-1"),
        ("limits.max_storage", "much"),
        ("tier", "gold"),
    ):
        refused = admin.submit(page, "/settings", **{field: value})
        assert (refused.status, list(wrong(refused))) == (400, [field])
    refused = admin.submit(page, "/settings", **{"limits.max_keys": "-1", "limits.max_storage": "much", "retention_days": "soon"})
    assert wrong(refused) == {
        "retention_days": "Must be a whole number from 1 to 36500; empty for never",
        "limits.max_keys": "Must be a whole number from 1 on, or “unlimited”",
        "limits.max_storage": "Must be a size such as 4MB or 1TB, or “unlimited”",
    }
    assert b'<a href="#limits.max_keys">Active API keys</a> must be a whole number' in refused.body


def test_a_project_goes_when_its_name_was_typed(with_admins: Appliance, photos: Project) -> None:
    key = photos.new_key()
    assert photos.admin.post(f"{photos.here}/delete", typed="something else").status == 400
    assert with_admins.call("GET", "/files", key=key).status == 200
    assert photos.admin.post(f"{photos.here}/delete", typed=photos.row["name"]).status == 200
    assert with_admins.call("GET", "/files", key=key).status == 401
    assert photos.admin.get(photos.here + "/files").status == 404


def test_file_routes(with_admins: Appliance, photos: Project) -> None:
    admin = photos.admin
    given = {
        "slug": "avatars",
        "max_file_size": "4MB",
        "max_file_count": "3",
        "allowed_types": "image/*, application/pdf",
        "visibility": "private",
    }
    page = admin.post(f"{photos.here}/file-routes/new", **given, verify_content="on", webhook_events=["onUploadComplete", "file.failed"])
    assert page.status == 200
    routes = with_admins.call("GET", f"/projects/{photos.row['id']}/file-routes").json["items"]
    made = next(route for route in routes if route["slug"] == "avatars")
    assert (made["maxFileSize"], made["maxFileCount"], made["visibility"]) == (4 * MIB, 3, "private")
    assert made["allowedTypes"] == ["image/*", "application/pdf"]
    assert made["webhookEvents"] == ["onUploadComplete", "file.failed"]
    assert (made["verifyContent"], made["anonymousUploads"]) == (True, False)
    for snippet in (b"curl http", b"upload-tokens", b"UploadDropzone", b"requests.post"):
        assert snippet in page.body
    path = f"{photos.here}/file-routes/{made['id']}"
    form = next(f for f in read(admin.get(path)).forms if not f.action)
    kept = [(name, value) for name, value in form.fields if name != "max_file_size"]
    assert admin.fetch("POST", path, [*kept, ("max_file_size", "")]).status == 302
    changed = with_admins.call("GET", f"/file-routes/{made['id']}").json
    assert changed | {"updatedAt": 0} == made | {"maxFileSize": None, "updatedAt": 0}
    typed = {
        "slug": "no good!",
        "max_file_size": "4 apples",
        "max_file_count": "many",
        "allowed_types": "image/* png",
        "webhook_url": "nowhere",
    }
    typed |= {"allowed_origins": "https://a.example https://b.example/"}
    refused = admin.post(f"{photos.here}/file-routes/new", **(given | typed))
    assert refused.status == 400
    assert wrong(refused) == {
        "slug": "Must begin with a letter and have up to 100 letters, digits, _ and -",
        "max_file_size": "Must be a size such as 4MB; empty for the tier's",
        "max_file_count": "Must be a whole number from 1 to 1000",
        "allowed_types": '“png” must be a type such as "image/png", "image/*" or "*/*", without parameters',
        "webhook_url": 'Must be a URL such as "https://example.com/hooks/upload"',
        "allowed_origins": '“https://b.example/” must be an origin such as "https://app.example.com" or "capacitor://localhost", '
        "without a path or a slash at the end",
    }
    assert b'<a href="#allowed_origins">Allowed origins</a> \xe2\x80\x9chttps://b.example/' in refused.body
    kept_fields = dict(next(f for f in read(refused).forms if not f.action).fields)
    assert {name: kept_fields[name] for name in typed} == typed
    refused = admin.post(f"{photos.here}/file-routes/new", **(given | {"slug": "other", "webhook_url": "http://10.0.0.1/"}))
    assert wrong(refused) == {"webhook_url": "Can't be called: 10.0.0.1 is not a public address"}
    assert b"allowed_private_cidrs" in refused.body
    refused = admin.post(f"{photos.here}/file-routes/new", **given)
    assert (refused.status, list(wrong(refused))) == (409, ["slug"])
    assert b"stays" in admin.post(f"{photos.here}/file-routes/{routes[-1]['id']}/delete").body
    assert admin.post(f"{path}/delete").status == 200
    assert with_admins.call("GET", f"/file-routes/{made['id']}").status == 404


def test_files_are_found_changed_shared_and_deleted(with_admins: Appliance, photos: Project) -> None:
    admin, key = photos.admin, photos.new_key()
    made = [with_admins.upload(JPEG * 20, name=f"beach {n}.jpg", key=key) for n in range(3)]
    with_admins.upload(b"hello", name="notes.txt", content_type="text/plain", key=key)
    page = admin.get(f"{photos.here}/files").body
    assert all(name in page for name in (b"beach 0.jpg", b"beach 2.jpg", b"notes.txt", b'loading="lazy"'))
    found = admin.get(f"{photos.here}/files?search=BEACH&type=image/*&status=UPLOADED&since=2020-01-01&route=default").body
    assert b"beach 1.jpg" in found
    assert b"notes.txt" not in found
    assert b"No file matches" in admin.get(f"{photos.here}/files?until=2020-01-01").body
    assert b"beach" not in admin.get(f"{photos.test}/files").body
    path = f"{photos.here}/files/{made[0]['id']}"
    page_of_one = admin.get(path)
    assert b"upload.completed" in page_of_one.body
    assert made[0]["url"].encode() in page_of_one.body
    assert admin.submit(page_of_one, "/metadata", metadata='{"album": "Süd\\u202e", "n": [1]}').status == 200
    assert with_admins.call("GET", f"/files/{made[0]['key']}", key=key).json["metadata"] == {"album": "Süd\u202e", "n": [1]}
    admin.submit(admin.get(path), "/metadata")
    assert with_admins.call("GET", f"/files/{made[0]['key']}", key=key).json["metadata"] == {"album": "Süd\u202e", "n": [1]}
    for bad in ("{", "[]", "1", '{"a":' * 2000, '{"a": {"b": {"c": {"d": {"e": {}}}}}}'):
        refused = admin.submit(page_of_one, "/metadata", metadata=bad)
        assert (refused.status, list(wrong(refused))) == (400, ["metadata"])
    linked = admin.submit(page_of_one, "/link", lifetime="1 day", download="on")
    url = re.search(rb'value="(http[^"]+signature=[^"]+)"', linked.body)
    assert url
    assert with_admins.read(url[1].decode().replace("&amp;", "&")).body == JPEG * 20
    assert b"signature=" not in admin.get(path).body.replace(b"/f/", b"")
    assert admin.submit(page_of_one, "/delete").status == 200
    assert with_admins.call("GET", f"/files/{made[0]['key']}", key=key).status == 404
    for gone in (admin.get(path), admin.submit(page_of_one, "/delete"), admin.submit(page_of_one, "/metadata")):
        assert (gone.status, b"beach 0.jpg has been deleted." in gone.body, b"notes.txt" in gone.body) == (200, True, True)
    assert admin.get(path.replace("/live/", "/test/")).status == 404, "nothing is told of another environment"
    reported = admin.post(f"{photos.here}/files/delete", key=[made[1]["key"], made[2]["key"], "nothing"])
    assert b"Deleted 2 of 3 files" in reported.body
    assert b"none was deleted" in admin.post(f"{photos.here}/files/delete").body
    assert b"beach 1.jpg" in admin.get(f"{photos.here}/files?status=DELETED").body


def test_what_is_shown_once_is_shown_where_it_belongs(with_admins: Appliance, photos: Project) -> None:
    """A link made in one tab while another file is opened in the next; a key, while another project's keys are looked at."""
    admin, key = photos.admin, photos.new_key()
    one, other = (f"{photos.here}/files/{with_admins.upload(b'x', f'{name}.txt', 'text/plain', key=key)['id']}" for name in "ab")
    admin.post(f"{one}/link", follow=False, lifetime="1 hour")
    admin.post(f"{photos.here}/keys", follow=False, name="For photos", environment="live", access="project")
    assert b"signature=" not in admin.get(other).body
    assert not re.search(rb'value="uk_live_', admin.get("/dashboard/p/default/live/keys").body)
    assert b"signature=" in admin.get(one).body
    assert re.search(rb'value="uk_live_', admin.get(f"{photos.here}/keys").body)


def test_pages_of_files(with_admins: Appliance, photos: Project) -> None:
    key = photos.new_key()
    for n in range(23):
        with_admins.request(10, name=f"file {n:02}.jpg", key=key)
    first = photos.admin.get(f"{photos.here}/files?search=file")
    assert first.body.count(b'name="key"') == 20
    older = next(link for link in read(first).links if "cursor=" in link)
    assert "search=file" in older
    second = photos.admin.get(older)
    assert second.body.count(b'name="key"') == 3
    assert b"file 00.jpg" in second.body


def test_a_list_that_is_asked_for_what_cant_be(photos: Project) -> None:
    """The list's own page tells it, beside the fields, which show what was given."""
    days = {"since": "Must be a day such as 2026-04-08", "until": "Must be a day such as 2026-04-08"}
    status = "Must be 'UPLOADING', 'UPLOADED', 'FAILED' or 'DELETED'"
    typed = {"status": "gone", "since": "yesterday", "until": "2026-02-30", "search": "beach", "type": "nonsense", "route": "r" * 101}
    query = "&".join(f"{name}={value}" for name, value in typed.items())
    page = photos.admin.get(f"{photos.here}/files?{query}")
    words = {"content_type": "Must be a media type such as image/* or application/pdf", "route_slug": "Must have at most 100 characters"}
    assert (page.status, wrong(page)) == (400, days | words | {"status": status})
    assert dict(next(form for form in read(page).forms if form.method == "get").fields) == typed
    typed = {"status": "gone", "event": "nonsense", "route": "r", "key": "k", "since": "yesterday", "until": "2026-02-30"}
    page = photos.admin.get(f"{photos.here}/logs?{'&'.join(f'{name}={value}' for name, value in typed.items())}")
    reported = wrong(page)
    assert reported.pop("event").startswith("Must be one of upload.requested, ")
    assert (page.status, reported) == (400, days | {"status": status})
    assert dict(next(form for form in read(page).forms if form.method == "get").fields) == typed
    page = photos.admin.get(f"{photos.here}/webhooks?status=nonsense")
    assert (page.status, b">Status</a> must be &#39;pending&#39;" in page.body, b"<h1>Webhooks</h1>" in page.body) == (400, True, True)
    for name in ("files", "keys", "file-routes", "webhooks", "logs", "/dashboard/projects", "/dashboard/usage", "/dashboard/audit"):
        path = name if name.startswith("/") else f"{photos.here}/{name}"
        page = photos.admin.get(f"{path}?cursor=broken")
        assert (page.status, b"This list has no such page" in page.body) == (400, True), name
        assert path in read(page).links[-3:], "the newest are one step away"


def test_overview_usage_and_logs(with_admins: Appliance, photos: Project) -> None:
    assert b"No files yet" in photos.admin.get(f"{photos.here}/overview").body
    key = photos.new_key()
    file = with_admins.upload(JPEG * 20, name="beach.jpg", key=key)
    with_admins.upload(JPEG * 20, name="sandbox.jpg", key=photos.new_key(environment="test"))
    page = photos.admin.get(f"{photos.here}/overview").body.decode()
    assert "beach.jpg" in page
    assert "sandbox.jpg" not in page
    assert ">100 GB</span>" in page
    assert page.count("<rect") == 2 * 30, "a chart for wide screens and one for phones"
    assert re.search(r"<title>\d{4}-\d\d-\d\d: 1</title>", page)
    assert "sandbox.jpg" in photos.admin.get(f"{photos.test}/overview").body.decode()
    log = photos.admin.get(f"{photos.here}/logs?status=UPLOADED").body
    assert b">upload.completed</td>" in log
    assert b">upload.requested</td>" not in log
    key_id = next(row["id"] for row in with_admins.call("GET", f"/projects/{photos.row['id']}/keys").json["items"])
    for filters, found in {
        "event=upload.requested&route=default&until=2999-01-01": 1,
        f"key={key_id}": 0,  # the newest key is the test one
        "event=upload.expired": 0,
        "route=nowhere": 0,
        "until=2020-01-01": 0,
    }.items():
        page = photos.admin.get(f"{photos.here}/logs?{filters}").body
        assert (page.count(b"beach.jpg"), b"Nothing matches" in page) == (found, not found), filters
    assert b"sandbox.jpg" in photos.admin.get(f"{photos.test}/logs?key={key_id}&status=UPLOADED").body
    table = photos.admin.get(f"{photos.here}/usage.csv")
    lines = table.body.decode().splitlines()
    assert lines[0] == "period,uploads,bytes_uploaded,bytes_deleted,requests"
    assert lines[1].endswith(f",1,{file['fileSize']},0,2"), "a request and a complete; pages of the dashboard don't count"
    assert len(lines) == 13
    assert "attachment" in table.headers["Content-Disposition"]
    for _ in range(3):
        assert with_admins.call("GET", "/nowhere", key=key).status == 404
    for address, count in ((photos.here, 5), (photos.test, 2)):
        page = photos.admin.get(f"{address}/overview").body.decode()
        assert re.search(rf'<strong>{count}</strong>\s*<span class="quiet">{count} today', page)
    size, everywhere = f"{file['fileSize']} bytes", photos.admin.get("/dashboard/usage").body.decode()
    row = next(part for part in everywhere.split("<tr>") if f"/p/{photos.row['slug']}/live/usage" in part)
    assert re.findall(r'"number"[^>]*>(?:<span[^>]*>)?([\w ]+)<', row) == ["1", size, "0 bytes", "5", "1", size]
    table = photos.admin.get("/dashboard/usage.csv").body.decode().splitlines()
    mine = [line for line in table if line.startswith(f"{photos.row['id']},{photos.row['slug']},")]
    assert len(mine) == 12
    assert mine[0].endswith(f",1,{file['fileSize']},0,5,{file['fileSize']},1")
    assert mine[1].endswith(",0,0,0,0,,")


def test_pages_of_the_appliance_keep_the_project_at_hand(photos: Project) -> None:
    admin = photos.admin
    admin.get(f"{photos.test}/logs")
    for page in ("audit", "storage", "backups", "settings", "projects", "usage"):
        links = read(admin.get(f"/dashboard/{page}")).links
        assert f"{photos.test}/files" in links, page
    switcher = read(admin.get(f"{photos.here}/logs")).links
    assert "/dashboard/p/default/live/logs" in switcher, "another project, the same page"
    admin.cookies[admin.cookie("place")] = "gone/else"
    page = admin.get("/dashboard/audit")
    assert (page.status, any("/p/gone/" in link for link in read(page).links)) == (200, False)


def test_uploading_by_the_page(with_admins: Appliance, photos: Project) -> None:
    admin = photos.admin
    surface = f"{photos.here}/upload/default"
    headers = {
        "X-Form-Token": admin.form_token(),
        "Content-Type": "application/json",
        "Cookie": admin.session,
    }

    def ask(body: object, path: str = surface) -> tuple[int, dict[str, object]]:
        answer = with_admins.fetch("POST", with_admins.base + path, json.dumps(body).encode(), headers)
        assert answer.headers["Content-Type"] == "application/json", answer.body
        return answer.status, answer.json

    assert json.loads(admin.get(surface).body)["allowedTypes"] == ["*/*"]
    wanted = {"action": "request-upload", "fileName": "a.jpg", "contentType": "image/jpeg", "contentLength": len(JPEG)}
    status, slot = ask(wanted)
    assert status == 200
    with_admins.put(slot, JPEG)
    status, done = ask({"action": "upload-complete", "key": slot["key"], "fileId": slot["fileId"]})
    assert (status, done["ok"]) == (200, True)
    status, begun = ask(wanted | {"action": "multipart-init", "contentLength": 11 * MIB})
    assert status == 200
    status, _ = ask({"action": "multipart-abort", "fileId": begun["fileId"], "uploadId": begun["uploadId"]})
    assert status == 200
    status, failed = ask(wanted, f"{photos.here}/upload/nowhere")
    assert status == 404
    assert failed["error"]["suggestion"]  # type: ignore[index]
    status, failed = ask(wanted | {"contentLength": 600 * MIB})
    assert status == 413
    headers["X-Form-Token"] = "0" * 64
    assert ask(wanted)[0] == 403
    headers["X-Form-Token"] = admin.form_token()
    sandboxed = ask(wanted, f"{photos.test}/upload/default")[1]
    assert str(sandboxed["key"]).startswith("test/")


def test_the_audit_trail_names_the_admin(photos: Project) -> None:
    photos.new_key(name="Audited key")
    page = photos.admin.get("/dashboard/audit").body.decode()
    row = next(part for part in page.split("<tr>") if "Audited key" in part)
    assert EMAIL in row
    assert photos.row["name"] in row


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """An appliance that may call receivers on this machine, tries twice, and pauses early."""
    settings = {
        "WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]',
        "WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1]",
        "WEBHOOKS__PAUSE_AFTER_DEAD_DELIVERIES": "1",
    }
    with running(tmp_path_factory.mktemp("telling"), **settings) as appliance:
        yield new_admin(appliance)


def test_webhooks(telling: Visitor) -> None:
    photos = Project(telling, "Hooks")
    appliance, here = telling.appliance, photos.here
    assert b"No deliveries yet" in telling.get(f"{here}/webhooks").body
    with receiving(answering(503)) as receiver:
        key = photos.new_key()
        (route,) = appliance.call("GET", f"/projects/{photos.row['id']}/file-routes").json["items"]
        appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": receiver.url})
        file = appliance.upload(JPEG, key=key)
        wait_until(lambda: b"after 1 dead" in telling.get(f"{here}/webhooks?status=dead").body, what="the pause")
        page = telling.get(f"{here}/webhooks?status=dead")
        link = next(link for link in read(page).links if "/deliveries/" in link)
        delivery = telling.get(link).body.decode()
        assert delivery.count(">503<") == 2
        assert "Upstash-Signature" in delivery
        timeline = telling.get(f"{here}/files/{file['id']}").body
        assert b"Webhook onUploadComplete, try 2" in timeline
        assert b"answered 503" in timeline
        receiver.answer = ok
        assert b"The pause is over" in telling.submit(page, "/resume").body
        assert telling.submit(telling.get(link), "/redeliver").status == 200
        wait_until(lambda: b">delivered<" in telling.get(link).body, what="the delivery")
        tested = telling.post(f"{here}/webhooks/test", route="default")
        assert b"on its way" in tested.body
        assert telling.submit(telling.get(link), "/delete").status == 200
        assert telling.get(link).status == 404
    before = re.findall(rb"whsec_[^\"]+", telling.get(f"{here}/webhooks/secrets").body)
    after = re.findall(rb"whsec_[^\"]+", telling.post(f"{here}/webhooks/secrets/rotate").body)
    assert len(set(before)) == 2
    assert after[0] == before[1]
    assert after[1] not in before


def test_a_backup_by_button(with_admins: Appliance, admin: Visitor) -> None:
    kept = with_admins.upload()
    page = admin.submit(admin.get("/dashboard/backups"), "/backups")
    assert b"A backup is being made" in page.body
    rendered = wait_until(lambda: (p := admin.get("/dashboard/backups").body.decode()) and ">whole<" in p and p, what="a whole backup")
    (made,) = json.loads(with_admins.run("backup", "list", "--json").stdout)
    assert f"<code>{made['id']}</code>" in rendered
    assert made["files"] >= 1
    checked = with_admins.run("backup", "verify")
    assert (checked.returncode, f"Backup {made['id']} is whole" in checked.stdout) == (0, True)
    assert with_admins.call("DELETE", f"/files/{kept['key']}").status == 200


def test_without_a_place_there_is_no_button(telling: Visitor) -> None:
    page = telling.get("/dashboard/backups")
    assert b"Backups are not set up" in page.body
    assert not [form for form in read(page).forms if form.action.endswith("/backups")]
    assert b"does not say where" in telling.post("/dashboard/backups").body


def test_the_doctor_by_button(telling: Visitor) -> None:
    assert telling.post("/dashboard/storage/doctor").status == 200
    page = wait_until(lambda: (p := telling.get("/dashboard/storage").body.decode()) and "clean-up" in p and p, what="the doctor to end")
    assert "nothing was left in the bucket" in page
    assert "never shown" in page
