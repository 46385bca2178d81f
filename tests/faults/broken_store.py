"""What can become of a store: each fault is a rule for `tests.store_proxy`, and `Weather` says where it strikes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.store_proxy import Answered, Asked, PassOn, Rule

Where = Callable[[Asked], bool]
PAGE = b"<html><head><title>Welcome</title></head><body><p>Please sign in.</p></body></html>"


class Weather:
    """A rule that can be changed while the proxy runs: calm, or a fault wherever one of the predicates holds."""

    def __init__(self) -> None:
        self._fault: Rule | None = None
        self._where: list[Where] = []
        self._calm_again = threading.Event()

    def rule(self, asked: Asked, pass_on: PassOn) -> Answered:
        fault = self._fault
        return fault(asked, pass_on) if fault and any(where(asked) for where in self._where) else pass_on(asked)

    @contextmanager
    def of(self, fault: Callable[[threading.Event], Rule], *where: Where) -> Iterator[None]:
        """Have `fault` strike at `where` until the block ends; what hangs is let go then."""
        self._calm_again = threading.Event()
        self._where, self._fault = list(where), fault(self._calm_again)
        try:
            yield
        finally:
            self._fault = None
            self._calm_again.set()


def everywhere(asked: Asked) -> bool:
    return True


def _error(status: int, code: str) -> Rule:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = Answered.error(status, code)
        return Answered(status) if asked.method == "HEAD" else answered

    return rule


def _page(status: int) -> Rule:
    """Somebody else answers at the store's address: a proxy, a hotel's network."""
    return lambda asked, pass_on: Answered(status, {"Content-Type": "text/html"}, PAGE)


def _as_sent(answered: Answered) -> bytes:
    headers = {
        name: value for name, value in answered.headers.items() if name.lower() not in ("content-length", "connection", "transfer-encoding")
    }
    lines = [f"HTTP/1.1 {answered.status} X", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
    lines += [] if answered.status == 204 else [f"Content-Length: {len(answered.body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + answered.body


def _hung(calm_again: threading.Event) -> Rule:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        calm_again.wait(60)
        return Answered(raw=[])

    return rule


def _hung_half_way(calm_again: threading.Event) -> Rule:
    """All but the last bytes of the answer come, of the head where there is no body."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        sent = _as_sent(pass_on(asked))

        def chunks() -> Iterator[bytes]:
            yield sent[:-3]
            calm_again.wait(60)

        return Answered(raw=chunks())

    return rule


def _trickles(calm_again: threading.Event) -> Rule:
    """The right answer, and a byte of it now and then: it is never silent for long, and never done."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        sent = _as_sent(pass_on(asked))

        def chunks() -> Iterator[bytes]:
            for byte in sent:
                yield bytes([byte])
                calm_again.wait(0.3)

        return Answered(raw=chunks())

    return rule


def _cut_short(asked: Asked, pass_on: PassOn) -> Answered:
    return Answered(raw=[_as_sent(pass_on(asked))[:-3]])


def _xml_cut_short(asked: Asked, pass_on: PassOn) -> Answered:
    """The length is right, and the document has no end."""
    answered = pass_on(asked)
    return Answered(answered.status, answered.headers, answered.body[: len(answered.body) // 2])


def _slow(asked: Asked, pass_on: PassOn) -> Answered:
    """Every answer takes its time, and comes in small pieces."""
    time.sleep(0.2)  # not for luck: this is the fault
    sent = _as_sent(pass_on(asked))
    step = max(1, len(sent) // 20)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(sent), step):
            yield sent[start : start + step]
            time.sleep(0.01)

    return Answered(raw=chunks())


def _answer_lost(asked: Asked, pass_on: PassOn) -> Answered:
    pass_on(asked)
    return Answered(raw=[])


def _constant(rule: Rule) -> Callable[[threading.Event], Rule]:
    return lambda calm_again: rule


slow = _constant(_slow)
access_denied = _constant(_error(403, "AccessDenied"))
clock_differs = _constant(_error(403, "RequestTimeTooSkewed"))
xml_cut_short = _constant(_xml_cut_short)
AWAY: dict[str, Callable[[threading.Event], Rule]] = {
    "hangs up": _constant(lambda asked, pass_on: Answered(raw=[])),
    "hangs": _hung,
    "hangs half-way": _hung_half_way,
    "trickles": _trickles,
    "is cut short": _constant(_cut_short),
    "loses its answer": _constant(_answer_lost),
    "500": _constant(_error(500, "InternalError")),
    "503": _constant(_error(503, "SlowDown")),
    "507": _constant(_error(507, "InsufficientStorage")),
    "full": _constant(_error(403, "QuotaExceeded")),
    "the clock differs": clock_differs,
    "a page": _constant(_page(200)),
    "a page that says 404": _constant(_page(404)),
    "a page that says 502": _constant(_page(502)),
}
"""Faults under which no request comes through."""
