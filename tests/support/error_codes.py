"""Every error code and its status."""

from __future__ import annotations

from collections.abc import Iterator

from uploadkit.core import errors
from uploadkit.core.errors import UploadKitError


def kinds(of: type[UploadKitError] = UploadKitError) -> Iterator[type[UploadKitError]]:
    for kind in of.__subclasses__():
        if kind.__module__.startswith("uploadkit."):
            yield kind
            yield from kinds(kind)


CODES = {kind.code: kind for kind in kinds() if kind.__module__ == errors.__name__}
