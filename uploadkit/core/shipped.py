"""What is shipped beside the code: templates, scripts, the reference configuration. A checkout has it at the top, a wheel inside."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_INSTALLED: Final = _PACKAGE / "_shipped"

CHECKOUT: Final[Path | None] = None if _INSTALLED.is_dir() else _PACKAGE.parent
"""The checkout that this runs from; None for a package that was installed from a wheel."""

_FOLDER: Final = CHECKOUT or _INSTALLED
TEMPLATES: Final = _FOLDER / "templates"
STATIC: Final = _FOLDER / "static"
REFERENCE_CONFIG: Final = _FOLDER / "config.toml"
"""Every setting with its default and what it is for."""

PROGRAM: Final = "uploadkit" if CHECKOUT is None else "python app.py"
"""How a person calls the command line, for messages that name a command."""
