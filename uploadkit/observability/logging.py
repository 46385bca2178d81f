"""Log lines: text for people, JSON for machines. What a line holds is decided where it is logged; no secret ever is.

Whatever it holds, it stays one line: what anybody sends may stand in it, and must neither begin another line nor command a terminal.
"""

from __future__ import annotations

import json
import logging
import sys

import orjson

from uploadkit.core import clock

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(log_format: str) -> None:
    """Send everything from INFO upwards to standard error, one line each, in `log_format` ("text" or "json")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    # No line of ours names process, thread or source; looking them up costs more than the rest ("Optimization" in Python's logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("apscheduler", "botocore", "boto3", "urllib3", "waitress.queue"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}


def printable(text: str) -> str:
    """Return `text` with an escape such as \\x1b in the place of each character that does not show."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class TextFormatter(logging.Formatter):
    """`time level logger message name=value …`"""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback follows it where there is one, indented, so that none of its lines looks like one of the log."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = f"{clock.to_iso(int(record.created * 1000))} {record.levelname} {record.name} {record.getMessage()} {fields}".rstrip()
        traceback = self.formatException(record.exc_info).split("\n") if record.exc_info else ()
        return "\n".join([printable(line), *(f"  {printable(more)}" for more in traceback)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, with the traceback inside it where there is one."""
        line: dict[str, object] = {"time": clock.to_iso(int(record.created * 1000)), "level": record.levelname, "logger": record.name}
        line |= {"message": record.getMessage(), **_fields(record)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half a surrogate pair; the other writer escapes it
            return json.dumps(line, default=str)
