"""Rate limits: how many requests a key may make, and how many wrong keys an address may try, in any 60 seconds.

The engine is that of the package `limits`. Refused requests do not count. Knows no HTTP and no tiers: callers say what the limit is.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, MovingWindowSupport, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from uploadkit.config import RateLimitsConfig
from uploadkit.core import clock
from uploadkit.core.errors import ConfigError, RateLimited
from uploadkit.core.packaged_files import PROGRAM

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# Who asks decides how many there are: addresses, tokens and e-mail addresses that somebody makes up.
MOST_WINDOWS = 100_000
_MOST_KNOWN = 1_000
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
# Of a request by whoever has no API key: what it costs to read grows with its body. Ordinary ones are far smaller.
BYTES_PER_PLACE = 16 * 1024


@dataclass(frozen=True)
class Standing:
    """Where a window stands after a request. `reset_at` (seconds since the epoch) is when the next place in it becomes free.

    `retry_after_seconds` is None when the request passed; else waiting that long is enough for the next one.
    """

    limit: int
    remaining: int
    reset_at: int
    retry_after_seconds: int | None


class PerMinute(RateLimitItemPerMinute):
    """So many in any minute. The amount is no part of the window's name, so a changed limit goes on with what was counted before."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the name of the window of `identifiers`."""
        return "/".join(str(part) for part in (self.namespace, *identifiers))


@lru_cache(maxsize=64)
def _per_minute(limit: int) -> PerMinute:
    return PerMinute(limit)


class MemoryWindows(MemoryStorage):
    """The storage of `limits` in memory with windows of our own (docs/decisions say why).

    The original keeps an empty window for ever for each name it has seen, starts a thread every few milliseconds to look through all of
    them, and reads the wall clock, which may be put back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, deque[int]] = OrderedDict()
        self._clear_up_at = 0

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` more in the window of the last `expiry` seconds, if `limit` lets them in; say whether it did."""
        with self._lock:
            now = clock.monotonic_ms()
            self._clear_up(now, expiry)
            window = self._present(key, now, expiry)
            if len(window) + amount > limit:
                return False
            window.extend([now] * amount)
            self._windows[key] = window
            self._windows.move_to_end(key)
            if len(self._windows) > MOST_WINDOWS:  # the one that nobody has asked for the longest
                self._windows.popitem(last=False)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when (seconds) the oldest of the newest `limit` came, and how many of them there are in the last `expiry` seconds."""
        with self._lock:
            now = clock.monotonic_ms()
            window = self._present(key, now, expiry)
            count = min(len(window), limit)
            return (window[-count] if count else now) / 1000, count

    def _present(self, key: str, now: int, expiry: int) -> deque[int]:
        window = self._windows.get(key, deque())
        while window and window[0] <= now - expiry * 1000:
            window.popleft()
        return window

    def _clear_up(self, now: int, expiry: int) -> None:
        """Once in `expiry` seconds, drop the windows of those who have not come since."""
        if now >= self._clear_up_at:
            self._clear_up_at = now + expiry * 1000
            lasting = ((key, window) for key, window in self._windows.items() if window and window[-1] > now - expiry * 1000)
            self._windows = OrderedDict(lasting)

    def clear(self, key: str) -> None:
        """Forget the window `key`."""
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int:
        """Forget all windows; return how many there were."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            return count


class RateLimits:
    """The windows of one appliance, kept where the configuration says. Raises ConfigError when that can't be used."""

    def __init__(self, settings: RateLimitsConfig) -> None:
        storage = _storage_at(settings.storage_uri.get_secret_value())
        # Times that a storage gives are on the clock it counts by.
        self._counts_monotonic_time = isinstance(storage, MemoryWindows)
        self._limiter = MovingWindowRateLimiter(storage)
        self._failures_per_minute = settings.auth_failures_per_minute
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def count_request(self, key_id: str, limit: int | None) -> Standing | None:
        """Count one request of an API key and say how it stands; None where there is no limit."""
        return None if limit is None else self._count(limit, "key", key_id)

    def count_browser_request(self, name: str, limit: int | None, body_bytes: int = 0) -> None:
        """Count one request of a browser by `name`: of its upload token, or of its network. A large body counts for several.

        Raises RateLimited.
        """
        places = min(max(1, -(-body_bytes // BYTES_PER_PLACE)), limit or 1)
        standing = None if limit is None else self._count(limit, "browser", name, places=places)
        if standing is not None and standing.retry_after_seconds is not None:
            raise RateLimited(
                f"Browsers may make {standing.limit} requests in a minute here",
                "Wait as long as Retry-After says; browser.requests_per_minute in config.toml sets how many there may be",
                retry_after_seconds=standing.retry_after_seconds,
            )

    def count_failure(self, address: str) -> None:
        """Count one wrong key or upload token from `address` (IPv6: its /64). Raises RateLimited once there were too many."""
        if self._failures_per_minute is None:
            return
        standing = self._count(self._failures_per_minute, "failures", network_of(address))
        if standing is not None and standing.retry_after_seconds is not None:
            raise RateLimited(
                f"More than {standing.limit} wrong API keys or upload tokens in a minute came from this address",
                "Correct what is sent from here; a valid key or token works at once",
                retry_after_seconds=standing.retry_after_seconds,
            )

    def count_sign_in(self, address: str, email: str, limit: int | None, *, has_new_password: bool = False) -> bool:
        """Count one attempt to sign in from `address` (IPv6: its /64) as `email`; return whether that one has signed in from there before.

        Guessing from many addresses is slowed down, too, with more room. From where somebody has signed in as `email` before, only that
        address counts: nobody can lock an admin out by guessing elsewhere. Nor anywhere else with a password that was set just now
        (`has_new_password`), as somebody does who is locked out. Raises RateLimited.
        """
        self._count_guess(limit, "sign-in", network_of(address))
        account = _short(email)
        with self._lock:
            is_known = (account, network_of(address)) in self._known
        if not is_known:
            if (site := site_of(address)) is not None:
                self._count_guess(limit and limit * 3, "sign-in-site", site)
            if not has_new_password:
                self._count_guess(limit and limit * 3, "sign-in-as", account)
        return is_known

    def note_sign_in(self, address: str, email: str) -> None:
        """Remember that `email` has signed in from `address`."""
        with self._lock:
            self._known[_short(email), network_of(address)] = None
            self._known.move_to_end((_short(email), network_of(address)))
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def count_set_up(self, address: str, limit: int | None) -> None:
        """Count one attempt to use a set-up link from `address`. Raises RateLimited."""
        self._count_guess(limit, "set-up", network_of(address))

    def count_password_change(self, address: str, admin_id: str, limit: int | None) -> None:
        """Count one attempt to change an admin's password, which is a guess at the present one. Raises RateLimited.

        By admin as well: whoever has got hold of a session must not find the password out, from wherever they try.
        """
        self._count_guess(limit, "password", network_of(address))
        self._count_guess(limit, "password-of", admin_id)

    def _count_guess(self, limit: int | None, *name: str) -> None:
        standing = None if limit is None else self._count(limit, *name)
        if standing is not None and standing.retry_after_seconds is not None:
            raise RateLimited(
                "Too many attempts in a minute",
                f"Wait {standing.retry_after_seconds} seconds and try again; "
                f"'{PROGRAM} admin reset-password' sets a new password on the appliance's machine",
                retry_after_seconds=standing.retry_after_seconds,
            )

    def _count(self, limit: int, *name: str, places: int = 1) -> Standing | None:
        item = _per_minute(limit)
        try:
            passed = self._limiter.hit(item, *name, cost=places)
            window = self._limiter.get_window_stats(item, *name)
        except StorageError as error:
            # Better to answer uncounted than not at all.
            log.error("requests are not counted: the storage of the rate limits fails: %s", type(error.storage_error).__name__)
            return None
        now_ms = clock.monotonic_ms() if self._counts_monotonic_time else clock.now_ms()
        wait_ms = max(0, math.ceil(window.reset_time * 1000) - now_ms)
        return Standing(
            limit=limit,
            remaining=max(0, window.remaining),
            reset_at=math.ceil((clock.now_ms() + wait_ms) / 1000),
            # One more than the whole seconds, so that rounding anywhere on the way never makes it too short.
            retry_after_seconds=None if passed else min(wait_ms // 1000 + 1, WINDOW_SECONDS) if places == 1 else WINDOW_SECONDS,
        )


def _short(email: str) -> str:
    """A name for an e-mail address, which may be as long as somebody likes."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "replace")).hexdigest()[:32]


def _storage_at(uri: str) -> Storage:
    if uri == "memory://":
        return MemoryWindows()
    scheme = uri.partition(":")[0]
    reason = "it does not answer"
    try:
        storage = storage_from_string(uri, wrap_exceptions=True)
        if not isinstance(storage, Storage) or not isinstance(storage, MovingWindowSupport):
            reason = "it keeps no exact windows"
        elif storage.check():
            return storage
    except (ConfigurationError, ValueError):
        reason = "no such storage is known, or the Python package for it is not installed"
    except StorageError:
        pass
    raise ConfigError(f'rate_limits.storage_uri: {scheme!r} can\'t be used: {reason}; "memory://" always works')


def network_of(address: str) -> str:
    """Return what one client has: an IPv4 address, or of an IPv6 address its /64.

    Behind a translator (RFC 6052) all of IPv4 comes from one /64: there it is the IPv4 address that counts.
    """
    parsed = _parsed(address)
    if parsed is None:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def site_of(address: str) -> str | None:
    """Return the /48 of an IPv6 address, which is what one customer may have (RFC 6177); None for others."""
    parsed = _parsed(address)
    return str(ipaddress.ip_network((parsed, 48), strict=False)) if parsed is not None and parsed.version == 6 else None


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed.version == 6 and parsed in _TRANSLATED else parsed
