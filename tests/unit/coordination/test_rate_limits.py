"""The windows of the rate limits, with the clock in our hand; and where they may be kept."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import MemoryStorage, MovingWindowSupport
from pydantic import SecretStr

from tests.support.clock import travelled_to
from uploadkit.config import RateLimitsConfig
from uploadkit.coordination.rate_limits import MemoryWindows, RateLimits, Standing, network_of, site_of
from uploadkit.core import clock
from uploadkit.core.errors import ConfigError, RateLimited

NOW = 1_775_000_000_000
MINUTE_MS = 60_000


def count(limits: RateLimits, key: str, limit: int) -> Standing:
    standing = limits.count_request(key, limit)
    assert standing is not None
    return standing


def passes(limits: RateLimits, key: str, limit: int) -> bool:
    return count(limits, key, limit).retry_after_seconds is None


@pytest.fixture
def limits() -> RateLimits:
    return RateLimits(RateLimitsConfig(auth_failures_per_minute=3))


@given(st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from("ab"), st.sampled_from([1, 2, 3, 7])), max_size=120))
def test_any_minute_holds_no_more_than_the_limit_and_the_wait_is_enough(steps: list[tuple[int, str, int]]) -> None:
    limits, passed = RateLimits(RateLimitsConfig()), {"a": list[int](), "b": list[int]()}
    now = NOW
    for pause, key, limit in steps:
        now += pause
        counted = [at for at in passed[key] if at > now - MINUTE_MS]
        with travelled_to(now) as advance:
            standing = count(limits, key, limit)
            assert (standing.retry_after_seconds is None) == (len(counted) < limit)
            if standing.retry_after_seconds is None:
                passed[key].append(now)
                counted.append(now)
            assert standing.remaining == max(0, limit - len(counted))
            assert standing.reset_at * 1000 >= counted[-limit:][0] + MINUTE_MS
            if standing.retry_after_seconds is not None:
                assert 1 <= standing.retry_after_seconds <= 60
                advance(standing.retry_after_seconds * 1000)
                now += standing.retry_after_seconds * 1000
                assert passes(limits, key, limit)
                passed[key].append(now)


def test_a_changed_limit_takes_effect_at_once_and_forgets_nothing(limits: RateLimits) -> None:
    with travelled_to(NOW) as advance:
        assert [passes(limits, "k", 60) for _ in range(61)].count(True) == 60
        raised = count(limits, "k", 300)
        assert (raised.remaining, raised.retry_after_seconds) == (300 - 61, None)
        advance(30_000)
        assert [passes(limits, "k", 300) for _ in range(300)].count(True) == 300 - 61
        lowered = count(limits, "k", 60)
        assert lowered.remaining == 0
        # The 61 of the beginning are no help: 239 came half a minute later, and 60 of those fill the window for another minute.
        assert lowered.retry_after_seconds == 60
        advance(59_999)
        assert not passes(limits, "k", 60)
        advance(1)
        assert passes(limits, "k", 60)


def test_no_limit_is_not_counted(limits: RateLimits) -> None:
    assert limits.count_request("k", None) is None
    assert count(limits, "k", 5).remaining == 4


def test_32_threads_on_one_window(limits: RateLimits) -> None:
    start = threading.Barrier(32)

    def go(_: int) -> int:
        start.wait()
        return sum(passes(limits, "k", 60) for _ in range(10))

    with travelled_to(NOW), ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(go, range(32))) == 60


def test_wrong_keys_are_counted_by_address(limits: RateLimits) -> None:
    with travelled_to(NOW) as advance:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "unix"):
            for _ in range(3):
                limits.count_failure(address)
            with pytest.raises(RateLimited) as refused:
                limits.count_failure(address)
            assert refused.value.retry_after_seconds == 60
        with pytest.raises(RateLimited):
            limits.count_failure("2001:db8::ffff:ffff:ffff:ffff")  # the same /64
        advance(60_000)
        limits.count_failure("192.0.2.1")


def test_wrong_keys_need_not_be_counted() -> None:
    limits = RateLimits(RateLimitsConfig(auth_failures_per_minute=""))
    for _ in range(1000):
        limits.count_failure("192.0.2.1")


@pytest.mark.long
def test_windows_of_those_who_left_take_no_memory() -> None:
    limits = RateLimits(RateLimitsConfig())
    with travelled_to(NOW) as advance:
        tracemalloc.start()
        try:
            sizes = []
            for round_number in range(4):
                for number in range(5_000):
                    limits.count_failure(f"2001:db8:{round_number}:{number:x}::1")
                for _ in range(5_000):
                    limits.count_request("busy", 100)
                advance(61_000)
                limits.count_request("last", 100)
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert max(sizes[1:]) < 1.2 * sizes[0] + 100_000, sizes


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("nonsense", "no such storage"),
        ("", "no such storage"),
        ("redis://:hush@127.0.0.1:1", "not installed"),
        ("memcached://127.0.0.1:1", "not installed"),
        ("async+memory://", "no exact windows"),
        ("away://", "does not answer"),
    ],
)
def test_a_storage_that_can_not_be_used(uri: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"rate_limits\.storage_uri: .*{reason}") as refused:
        RateLimits(RateLimitsConfig(storage_uri=uri))
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_address_of_a_storage_may_hold_a_password() -> None:
    assert "hush" not in repr(RateLimitsConfig(storage_uri=SecretStr("redis://:hush@127.0.0.1:1")))


class Away(MemoryStorage):
    """A storage that never answers."""

    STORAGE_SCHEME = ("away",)

    def check(self) -> bool:
        return False


class Failing(MemoryStorage, MovingWindowSupport):
    """A storage that goes away while it is in use."""

    STORAGE_SCHEME = ("failing",)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ConnectionError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        raise ConnectionError("gone")


def test_another_storage_of_the_package() -> None:
    """One that counts by the wall clock, as Redis does."""

    class Original(MemoryStorage):
        STORAGE_SCHEME = ("original",)

    limits = RateLimits(RateLimitsConfig(storage_uri="original://"))
    standings = [count(limits, "k", 5) for _ in range(6)]
    assert [standing.remaining for standing in standings] == [4, 3, 2, 1, 0, 0]
    assert standings[-1].retry_after_seconds in (59, 60)
    assert 0 <= standings[-1].reset_at - clock.now_ms() / 1000 <= 61


def test_a_storage_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    limits = RateLimits(RateLimitsConfig(storage_uri="failing://"))
    assert limits.count_request("k", 1) is None
    limits.count_failure("192.0.2.1")
    assert "ConnectionError" in caplog.text


@pytest.fixture
def windows() -> Iterator[MemoryWindows]:
    with travelled_to(NOW):
        yield MemoryWindows()


def test_what_the_package_asks_of_a_storage(windows: MemoryWindows) -> None:
    assert windows.check()
    assert not windows.acquire_entry("k", 2, 60, 3)
    assert windows.acquire_entry("k", 2, 60, 2)
    assert windows.get_moving_window("k", 2, 60) == (NOW / 1000, 2)
    windows.clear("k")
    assert windows.get_moving_window("k", 2, 60) == (NOW / 1000, 0)
    windows.acquire_entry("k", 2, 60)
    assert windows.reset() == 1
    assert windows.acquire_entry("k", 1, 60)


@pytest.mark.parametrize(
    ("address", "network", "site"),
    [
        ("198.51.100.7", "198.51.100.7", None),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("64:ff9b::c633:6407", "198.51.100.7", None),
        ("nonsense", "nonsense", None),
    ],
)
def test_what_one_client_has(address: str, network: str, site: str | None) -> None:
    """An appliance that knows only IPv6 has all of IPv4 behind one translator's /64: nobody there is to wait for the others."""
    assert (network_of(address), site_of(address)) == (network, site)
