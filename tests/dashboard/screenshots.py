"""`make screenshots`: a picture of every page, light and dark, wide and on a phone, in build/screenshots; those of the README in docs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.appliance import ROOT
from tests.browsers import chromium
from tests.dashboard import stock

SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 800}}
IN_THE_README = ("overview-light-wide", "files-dark-wide", "file-light-wide", "keys-dark-phone")


def main() -> None:
    """Make them all."""
    target, chosen = ROOT / "build/screenshots", ROOT / "docs/screenshots"
    target.mkdir(parents=True, exist_ok=True)
    chosen.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, stock.stocked(Path(home) / "appliance") as appliance, chromium() as browser:
        first = True
        for scheme in ("light", "dark"):
            for size, viewport in SIZES.items():
                context = browser.new_context(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")  # type: ignore[arg-type]
                page = context.new_page()
                stock.sign_in(page, appliance, for_the_first_time=first)
                first = False
                for name, address in stock.pages(appliance).items():
                    page.goto(address, wait_until="networkidle")
                    page.screenshot(path=target / f"{name}-{scheme}-{size}.png", full_page=f"{name}-{scheme}-{size}" not in IN_THE_README)
                context.close()
    for name in IN_THE_README:
        shutil.copy(target / f"{name}.png", chosen)
    print(f"{len(list(target.glob('*.png')))} pictures are in {target}")


if __name__ == "__main__":
    main()
