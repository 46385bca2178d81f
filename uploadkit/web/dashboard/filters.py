"""How values look on a page: sizes, times, control characters. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from uploadkit.config import TierConfig
from uploadkit.core import clock

# In this order: most browsers name those that came before them as well.
_BROWSERS = {
    "Edge": re.compile(r"Edg(?:e|A|iOS)?/(\d+)"),
    "Opera": re.compile(r"OPR/(\d+)"),
    "Firefox": re.compile(r"(?:Firefox|FxiOS)/(\d+)"),
    "Chrome": re.compile(r"(?:HeadlessChrome|Chrome|CriOS)/(\d+)"),
    "Safari": re.compile(r"Version/(\d+)[\d.]* (?:Mobile/\S+ )?Safari/"),
}
_SYSTEMS = {"iPhone": "iOS", "iPad": "iPadOS", "Mac OS X": "macOS", "Windows": "Windows", "Android": "Android", "Linux": "Linux"}
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def size(count: int | None) -> str:
    """Return a number of bytes for people, in powers of 1024: `4.2 MB`; None is unlimited."""
    if count is None:
        return "unlimited"
    amount, unit = float(count), 0
    while round(amount, 1) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{count:,} {'byte' if count == 1 else 'bytes'}" if unit == 0 else f"{amount:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"


def size_field(count: int | None) -> str:
    """Return a number of bytes as a form takes it back without loss: `4MB`, or the bare number where no unit divides it."""
    if not count:
        return ""
    for power in range(4, 0, -1):
        if count % 1024**power == 0:
            return f"{count // 1024**power}{_UNITS[power]}"
    return str(count)


def utc(at_ms: int) -> str:
    """Return a time as people read it where no script puts it into their own zone."""
    return f"{clock.to_datetime(at_ms):%Y-%m-%d %H:%M:%S} UTC"


def day(at_ms: int) -> str:
    """Return the day (UTC) of a time."""
    return f"{clock.to_datetime(at_ms):%Y-%m-%d}"


def short_day(at_ms: int) -> str:
    """Return the day (UTC) of a time as a chart has room for it: `8 Apr`."""
    when = clock.to_datetime(at_ms)
    return f"{when.day} {when:%b}"


def browser(user_agent: str) -> str:
    """Return the program and the system that a User-Agent names, in a few words; what names neither of those known here, as it begins."""
    program = next((f"{name} {found[1]}" for name, pattern in _BROWSERS.items() if (found := pattern.search(user_agent))), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), None)
    if program and system:
        return f"{program} on {system}"
    return visible(program or user_agent[:40].strip() or "unknown")


def visible(text: Any) -> str:
    """Return text in which control characters, and those that turn the direction of writing, are seen as codes."""
    return "".join(character if _is_harmless(character) else f"\\u{ord(character):04x}" for character in str(text))


def _is_harmless(character: str) -> bool:
    code = ord(character)
    hidden = code < 32 or 0x7F <= code <= 0x9F or 0x200B <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2060 <= code <= 0x206F
    return not hidden and code != 0xFEFF


def pretty(value: Any) -> str:
    """Return a JSON value over several lines, non-ASCII kept."""
    return "\n".join(visible(line) for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"))


def by_field(details: Mapping[str, Sequence[str]] | None) -> dict[str, str]:
    """Return what is wrong by the name of the form's field that it is about, where the details of a failure may have the API's name."""
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): "; ".join(words) for name, words in (details or {}).items()}


def words(name: str) -> str:
    """Return the name of a field as words: `maskedKey` and `masked_key` as `masked key`."""
    return re.sub("[A-Z]", lambda found: f" {found[0].lower()}", name).replace("_", " ")


def sentence(text: str) -> str:
    """Return text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def limit(value: int | None) -> str:
    """Return a limit in numbers; None is unlimited."""
    return "unlimited" if value is None else f"{value:,}"


def percent(part: int, whole: int | None) -> int:
    """Return how much of a limit is used, 0 to 100; of an unlimited one nothing."""
    return 0 if not whole else min(100, round(part * 100 / whole))


def limits_line(limits: TierConfig) -> str:
    """Return a tier's limits in one line."""
    return (
        f"files up to {size(limits.max_file_size)}, storage {size(limits.max_storage)}, "
        f"{limit(limits.max_uploads_per_month)} uploads a month, {limit(limits.max_keys)} keys, "
        f"{limit(limits.requests_per_minute)} requests a minute"
    )


FILTERS = {
    "size": size,
    "size_field": size_field,
    "iso": clock.to_iso,
    "utc": utc,
    "day": day,
    "short_day": short_day,
    "browser": browser,
    "visible": visible,
    "pretty": pretty,
    "by_field": by_field,
    "words": words,
    "sentence": sentence,
    "limit": limit,
    "percent_of": percent,
    "limits_line": limits_line,
}
