"""A browser that is signed in to the dashboard."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.dashboard.visitors import EMAIL, PASSWORD
from tests.support.appliance import Appliance


def sign_in(page: Page, appliance: Appliance) -> None:
    page.goto(f"{appliance.base}/dashboard/sign-in")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Default")).to_be_visible()
