"""`uploadkit.js` with its times made shorter, for pages of tests."""

from __future__ import annotations

import re

from tests.support.appliance import ROOT
from uploadkit.web.static_modules import joined


def module(**seconds: float) -> str:
    """Return the module as pages get it, with these constants set anew, such as `SILENCE_SECONDS=6`. One that it has not is an error."""
    text = joined(ROOT / "static" / "uploadkit.js")
    for name, value in seconds.items():
        text, count = re.subn(rf"^const {name} = [^;]+;", f"const {name} = {value};", text, flags=re.MULTILINE)
        assert count == 1, f"uploadkit.js has no constant {name}"
    return text
