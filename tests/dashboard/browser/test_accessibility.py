"""axe-core finds nothing serious on any page, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.packages import npm_packages  # noqa: F401
from tests.dashboard import stock


def serious(page: Page, axe: str) -> list[tuple[str, Any]]:
    """What axe has to say about the page as it stands."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found if each["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_violation(page: Page, tmp_path: Path, npm_packages: Path, scheme: str) -> None:  # noqa: F811
    axe = (npm_packages / "node_modules/axe-core/axe.min.js").read_text()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    with stock.stocked(tmp_path) as appliance:
        page.goto(f"{appliance.base}/dashboard/sign-in")
        found = {"sign-in": serious(page, axe)}
        page.goto(f"{appliance.base}/dashboard/setup")
        found["setup"] = serious(page, axe)
        stock.sign_in(page, appliance, for_the_first_time=True)
        for name, address in stock.pages(appliance).items():
            page.goto(address)
            found[name] = serious(page, axe)
        page.goto(stock.pages(appliance)["keys"])
        page.get_by_role("button", name="Create key").click()
        found["dialog"] = serious(page, axe)
    assert {name: violations for name, violations in found.items() if violations} == {}
