"""What is shipped beside the code: templates, scripts, the reference configuration. A checkout has it at the top, a wheel inside."""

from __future__ import annotations

import sys
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

_STARTED_AS: Final = sys._xoptions.get("uploadkit")

EXECUTABLE: Final[Path | None] = Path(_STARTED_AS) if isinstance(_STARTED_AS, str) else None
"""The one executable file that this was unpacked from (docs/deploy.md), which names itself to its Python; None for all else."""

PROGRAM: Final = "python app.py" if CHECKOUT else EXECUTABLE.name if EXECUTABLE else "uploadkit"
"""How a person calls the command line, for messages that name a command."""
