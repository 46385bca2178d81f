"""What a person does from the first visit on, with everything that the browser complains of or asks for noted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.dashboard.visitors import EMAIL, PASSWORD
from tests.support.appliance import JPEG, Appliance, running
from tests.support.browsers import Watched
from uploadkit.core.sizes import MIB

DROPPED = """([names, bytes]) => {
  const dropped = new DataTransfer();
  for (const name of names) dropped.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  return dropped;
}"""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Appliance]:
    with running(tmp_path) as appliance:
        yield appliance


def set_up(page: Page, appliance: Appliance) -> None:
    page.goto(appliance.run("admin", "setup-link").stdout.strip())
    expect(page.get_by_label("Set-up token")).to_be_hidden()
    assert "#" not in page.url, "the token does not stay in the address"
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set up and sign in").click()
    expect(page.get_by_role("heading", name="Default")).to_be_visible()


def be_told_of_all_fields_at_once(page: Page, appliance: Appliance) -> None:
    """Before anything is sent: each wrong field says what is wrong until it is changed, and what was typed stays."""
    page.goto(f"{appliance.base}/dashboard/setup#token")
    email, password = page.get_by_label("E-mail address"), page.get_by_label("Password")
    email.fill("anna")
    password.press_sequentially("short")
    page.keyboard.press("Enter")
    expect(page.locator(".wrong")).to_have_count(2)
    expect(email).to_be_focused()
    expect(password).to_have_value("short")
    expect(password).to_have_accessible_description(re.compile("10 characters or more.*At least 10 characters"))
    email.fill(EMAIL)
    expect(page.locator(".wrong")).to_have_count(1)
    expect(email).not_to_have_attribute("aria-invalid", "true")


def enter(page: Page, section: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=section, exact=True).click()


def look_at_a_file_in_the_panel(page: Page) -> None:
    """Over the list, under the file's own address; Escape, Back and the button close it, and the keyboard is where it was."""
    listed, link, panel = page.url, page.get_by_role("link", name="beach 2.jpg"), page.locator("dialog.side")
    link.focus()
    page.keyboard.press("Enter")
    expect(panel.get_by_role("heading", name="beach 2.jpg")).to_be_visible()
    assert re.search(r"/files/[0-9a-f-]{36}$", page.url)
    expect(panel.get_by_role("button", name="Close")).to_be_focused()
    panel.get_by_label("Metadata, a JSON object").fill('{"album": "Summer"}')
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_role("status")).to_be_focused()
    panel.get_by_label("Metadata, a JSON object").fill("[1]")
    panel.get_by_role("button", name="Save").click()
    panel.get_by_role("alert").get_by_role("link").first.click()
    expect(panel.get_by_label("Metadata, a JSON object")).to_be_focused()
    expect(panel.get_by_label("Metadata, a JSON object")).to_have_value("[1]")
    panel.get_by_role("button", name="Make link").click()
    expect(panel.get_by_role("textbox", name="Signed link")).to_have_value(re.compile("^http"))
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(link).to_be_focused()
    expect(page).to_have_url(listed)
    page.go_forward()
    expect(panel.get_by_label("Metadata, a JSON object")).to_have_value(re.compile("Summer"))
    answer_too_late(page, panel, listed)
    page.go_back()
    expect(panel).to_be_hidden()
    page.go_forward()
    expect(panel).to_be_visible()
    panel.dispatch_event("close")  # of Back, late: browsers send it with the next frame
    expect(panel.get_by_label("Metadata, a JSON object")).to_have_value(re.compile("Summer"))
    assert re.search(r"/files/[0-9a-f-]{36}$", page.url)
    page.reload()
    expect(page.locator("main h1", has_text="beach 2.jpg")).to_be_visible()
    page.go_back()
    expect(page.locator("#results tbody tr")).to_have_count(1)
    link.click()
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_be_hidden()
    expect(page).to_have_url(listed)


def answer_too_late(page: Page, panel: Locator, listed: str) -> None:
    """The answer to what was sent from a panel that has been closed since is not shown in the one that is open now.

    What was refused is told on the list.
    """
    held: list[Route] = []

    def save_and_close() -> None:
        panel.get_by_role("button", name="Save").click()
        while not held:
            page.wait_for_timeout(10)
        page.keyboard.press("Escape")
        expect(page).to_have_url(listed)

    page.route("**/metadata", lambda route: held.append(route))
    panel.get_by_label("Metadata, a JSON object").fill("[1]")
    save_and_close()
    held.pop().continue_()
    expect(page.get_by_role("alert")).to_contain_text("beach 2.jpg: Metadata must be a JSON object")
    page.go_forward()
    save_and_close()
    page.go_forward()
    field = panel.get_by_label("Metadata, a JSON object")
    field.fill("{}")
    with page.expect_event("requestfinished", lambda request: request.redirected_from is not None):
        held.pop().continue_()
    page.evaluate("() => new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))")
    expect(field).to_have_value("{}")
    page.unroute("**/metadata")


def choose_types(page: Page) -> None:
    """Types of a file route are tags: typed, picked, pasted, taken away."""
    enter(page, "File routes")
    page.get_by_role("link", name="Create file route").click()
    page.get_by_label("Slug").fill("papers")
    tags, types = page.locator(".tags li"), page.get_by_label("Allowed types")
    expect(tags).to_have_text(["*/*×"])  # the script is there
    types.press_sequentially("image/* nonsense,")
    expect(tags).to_have_text(["image/*×"])
    types.fill("application/pdf, text/plain")
    types.press("Enter")
    expect(tags).to_have_count(3)
    page.get_by_role("button", name="Remove image/*").click()
    expect(types).to_be_focused()
    types.fill("audio/*")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(tags).to_have_text(["application/pdf×", "text/plain×", "audio/*×"])
    types.press("Backspace")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    expect(tags).to_have_count(2)


def test_from_the_first_visit_to_a_revoked_key(page: Page, watched: Watched, fresh: Appliance, tmp_path: Path) -> None:
    store = f"http://127.0.0.1:{urlsplit(fresh.request(10).json['uploadUrl']).port}"
    set_up(page, fresh)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    enter(page, "Projects")
    page.get_by_role("button", name="Create project").click()
    page.get_by_label("Name").fill("Holiday photos")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Created the project Holiday photos")

    page.get_by_role("button", name="Create key").click()
    page.get_by_label("Name").fill("Production server")
    page.get_by_role("button", name="Create", exact=True).click()
    key = page.get_by_label("API key", exact=True).input_value()
    assert re.fullmatch(r"uk_live_[\w-]{32}", key)
    page.reload()
    expect(page.get_by_role("cell", name="Production server", exact=True)).to_be_visible()
    assert key not in page.content(), "shown once, gone after a reload"
    assert fresh.call("GET", "/files", key=key).status == 200

    large = tmp_path / "film.bin"
    large.write_bytes(b"\0" * (30 * MIB))
    enter(page, "Files")
    page.wait_for_load_state()  # whoever drops before the scripts are there has the browser open the file
    dropped = page.evaluate_handle(DROPPED, [["beach 1.jpg", "beach 2.jpg"], list(JPEG * 50)])
    page.get_by_role("region", name="Upload").dispatch_event("drop", {"dataTransfer": dropped})
    page.locator("input[type=file]").set_input_files(large)
    expect(page.locator(".uploads li", has_text="uploaded")).to_have_count(3, timeout=60_000)
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_role("cell", name="30 MB")).to_be_visible()

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy URL of beach 1.jpg").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert fresh.read(page.evaluate("navigator.clipboard.readText()")).body == JPEG * 50

    page.get_by_label("File name").press_sequentially("beach 2")
    expect(rows).to_have_count(1)
    look_at_a_file_in_the_panel(page)
    assert ["status of 400" in error for error in watched.errors] == [True, True], "of the metadata that was refused"
    watched.errors.clear()
    page.get_by_role("link", name="beach 2.jpg").click()
    expect(page.get_by_text("upload.completed")).to_be_visible()
    assert page.locator("dialog time").first.get_attribute("title", timeout=1000), "UTC is at hand"
    assert "UTC" not in page.locator("dialog time").first.inner_text(), "in the viewer's zone"
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#delete").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Deleted beach 2.jpg")
    expect(page).to_have_url(re.compile("search=beach"))
    expect(page.locator("#results")).to_contain_text("No file matches")
    page.go_forward()  # to where the panel was
    expect(page.get_by_role("status")).to_contain_text("beach 2.jpg has been deleted")
    expect(rows).to_have_count(2)

    choose_types(page)
    enter(page, "API keys")
    page.get_by_role("button", name="Revoke Production server").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Revoked uk_live_")
    assert fresh.call("GET", "/files", key=key).status == 401

    assert watched.errors == [], "neither a violation of the policy nor any other complaint"
    elsewhere = {url for url in watched.requests if not url.partition(" ")[2].startswith((fresh.base, store, "data:", "blob:"))}
    assert elsewhere == set()


def test_a_session_by_keyboard_alone(page: Page, fresh: Appliance) -> None:
    be_told_of_all_fields_at_once(page, fresh)
    set_up(page, fresh)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.goto(f"{fresh.base}/dashboard/p/default/live/keys")
    button = page.get_by_role("button", name="Create key")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Name")).to_be_hidden()
    expect(button).to_be_focused()
    button.press("Enter")
    page.get_by_label("Name").fill("CI")
    page.get_by_label("Test uk_test_").check()
    page.get_by_label("Access").select_option("account")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("account access")
    expect(page.get_by_label("Name")).to_have_value("CI")
    expect(page.get_by_label("Access")).to_have_value("account")
    expect(page.get_by_label("Access")).to_be_focused()
    expect(page.get_by_label("Access")).to_have_accessible_description(re.compile("test key"))


def test_a_list_made_anew_keeps_ticks_and_keyboard(page: Page, fresh: Appliance) -> None:
    fresh.upload(JPEG)
    set_up(page, fresh)
    enter(page, "Files")
    page.locator("input[name=key]").check()
    page.locator("input[name=key]").focus()
    with page.expect_response(re.compile("/files[?]")):
        page.evaluate("document.dispatchEvent(new CustomEvent('files-changed'))")
    page.wait_for_timeout(200)
    expect(page.locator("input[name=key]")).to_be_checked()
    expect(page.locator("input[name=key]")).to_be_focused()
    page.wait_for_load_state()  # whoever drops before the scripts are there has the browser open the file
    dropped = page.evaluate_handle(DROPPED, [["\u202e" + "a" * 300 + ".jpg"], [0]])
    page.get_by_role("region", name="Upload").dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.locator(".uploads li")).to_contain_text("\\u202eaaa")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long name is cut, not the page made wide"
    kind = page.get_by_label("Type", exact=True)
    kind.fill("nonsense")
    expect(page.locator("#results")).to_contain_text("image/*")
    expect(kind).to_have_accessible_description(re.compile("Must be a media type"))
    kind.fill("image/*")
    expect(page.locator("#results tbody tr")).to_have_count(1)
    expect(page.locator(".wrong")).to_have_count(0)


def test_pages_work_without_scripts(browser: Browser, fresh: Appliance) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(60_000)
    page = context.new_page()
    address, _, token = fresh.run("admin", "setup-link").stdout.strip().partition("#")
    page.goto(address)
    page.get_by_label("Set-up token").fill(token)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set up and sign in").click()
    enter(page, "API keys")
    page.get_by_role("button", name="Create key").click()
    page.get_by_label("Name").fill("CI")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_label("API key", exact=True)).to_have_value(re.compile("uk_live_"))
    page.get_by_role("button", name="Revoke CI").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Revoked")
    name = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 251 + ".jpg"
    fresh.upload(JPEG, name=name)
    enter(page, "Files")
    expect(page.get_by_text("Choose files")).to_be_hidden()
    expect(page.get_by_text("needs JavaScript")).to_be_visible()
    link = page.get_by_role("link", name=name)
    expect(link.get_by_title(name)).to_be_visible()
    assert link.evaluate("link => link.getBoundingClientRect().height") < 60, "two lines, whatever the name"
    page.goto(page.url + "?since=yesterday&status=gone")
    expect(page.get_by_label("From")).to_have_value("yesterday")
    context.close()
