"""Never more than the limits within any window, nearly all of them in the long run; and what a server tells."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfolio.config.models.protocols import RateLimits, TransientError
from pgfolio.config.models.rate_limit_headers import rate_limits, retry_after
from pgfolio.flows.embedding.rate_limit import Pair, Pause, RateLimiter, Rates, SharedState, WindowLimits
from pgfolio.flows.embedding.stopwatch import Stopwatch
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import rate_limits as stored

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 1_800_000_000_000
"""A time in ms, as the database's clock gives it."""


def admitted(limits: WindowLimits, requests: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(ms, tokens) of requests that come so many ms after one another and are tried again until they may go."""
    rates, pair, now = Rates(limits), Pair(), START
    state = pair.initial(rates.pair)
    gone = []
    for pause, tokens in requests:
        now += pause
        while True:
            units = max(1, round(tokens / rates.unit))
            state, decision = pair.step(rates.pair, state, now, units)
            if decision.allowed:
                break
            assert decision.retry_after_ms
            now += decision.retry_after_ms
        gone.append((now, tokens))
    return gone


def fullest(gone: list[tuple[int, int]], window: float) -> int:
    """Tokens in the fullest window of so many seconds."""
    return max(sum(tokens for at, tokens in gone if first <= at < first + window * 1000) for first, _ in gone)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(20_000, 3_000_000),
    st.sampled_from([0.0, 0.03, 0.2]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 100)), min_size=1, max_size=150),
)
def test_no_minute_holds_more_than_the_limit_without_its_reserve(
    limit: int, reserve: float, requests: list[tuple[int, int]]
) -> None:
    limits = WindowLimits(tokens=limit, reserve=reserve)
    max_tokens = int(Rates(limits).max_request_tokens)
    gone = admitted(limits, [(pause, max(1, max_tokens * percent // 100)) for pause, percent in requests])
    assert fullest(gone, 60) <= limit * (1 - reserve) * 1.001  # tokens are counted in units of a few


@pytest.mark.parametrize("limit", [10_000, 1_000_000, 20_000_000])
def test_ninety_percent_of_the_limit_can_be_used(limit: int) -> None:
    limits = WindowLimits(tokens=limit, reserve=0.03)
    gone = admitted(limits, [(0, int(Rates(limits).max_request_tokens))] * 400)
    (first, _), (last, _) = gone[100], gone[-1]  # without the burst of the beginning
    assert sum(tokens for _, tokens in gone[101:]) >= 0.9 * limit * (last - first) / 60_000


@pytest.mark.parametrize("limit", [1, 3, 60, 3000])
def test_no_minute_holds_more_than_the_requests_allowed(limit: int) -> None:
    gone = admitted(WindowLimits(requests=limit), [(0, 500)] * min(3 * limit, 200))
    assert fullest([(at, 1) for at, _ in gone], 60) <= limit


def test_a_text_over_the_burst_goes_alone_and_leaves_a_debt() -> None:
    limits = WindowLimits(tokens=60_000)
    burst = int(2 * Rates(limits).max_request_tokens)
    gone = admitted(limits, [(0, 10 * burst), (0, 1)])
    assert gone[0][0] == START
    assert gone[1][0] - START == pytest.approx(1000 * 9 * burst / (57_600 / 60), rel=0.01)


def test_few_requests_are_allowed_to_be_large() -> None:
    assert Rates(WindowLimits(requests=10, tokens=100_000)).max_request_tokens == 10_000
    assert Rates(WindowLimits(requests=3000, tokens=100_000)).max_request_tokens == 2000


def test_without_a_limit_nothing_is_waited_for_and_no_database_is_needed() -> None:
    rate_limiter = RateLimiter(WindowLimits(), SharedState("host=/nowhere", "nobody"))
    assert [rate_limiter.acquire(1_000_000) for _ in range(1000)] == [0.0] * 1000
    assert rate_limiter.limited.seconds == 0.0


def test_workers_with_the_same_key_share_the_limits(conninfo: str) -> None:
    """Two runs of four threads, in windows of six seconds."""
    limits = WindowLimits(tokens=60_000, reserve=0.03, window=6.0)
    gone: list[tuple[float, int]] = []

    def work(rate_limiter: RateLimiter) -> None:
        while time.monotonic() < until:
            tokens = int(rate_limiter.max_request_tokens)
            rate_limiter.acquire(tokens)
            gone.append((1000 * time.monotonic(), tokens))

    stores = [SharedState(conninfo, "a key") for _ in range(2)]
    with closing(stores[0]), closing(stores[1]), ThreadPoolExecutor(8) as pool:
        limiters = [RateLimiter(limits, store) for store in stores]
        until = time.monotonic() + 8
        for future in [pool.submit(work, limiters[i % 2]) for i in range(8)]:
            future.result()
    used = [(int(at), tokens) for at, tokens in sorted(gone)]
    assert fullest(used, 6.0) <= 60_000
    assert sum(tokens for _, tokens in used) >= 0.85 * 60_000 * 8 / 6
    assert all(rate_limiter.limited.seconds > 6 for rate_limiter in limiters)


def test_what_was_billed_replaces_what_was_charged(conninfo: str) -> None:
    limits = WindowLimits(tokens=60_000)
    rates = Rates(limits)
    with closing(SharedState(conninfo, "a key")) as store, connect(conninfo) as connection:
        rate_limiter = RateLimiter(limits, store)
        charged = rate_limiter.acquire(1000)
        before = stored.state(connection, "a key")
        rate_limiter.refund(charged, 400)
        after = stored.state(connection, "a key")
    assert before is not None
    assert after is not None
    assert before[1] - after[1] == pytest.approx(rates.microseconds(600), abs=1)


def test_one_workers_429_holds_all_of_them(conninfo: str) -> None:
    limits = WindowLimits(tokens=6_000_000)
    with closing(SharedState(conninfo, "a key")) as one, closing(SharedState(conninfo, "a key")) as other:
        RateLimiter(limits, one).pause(0.5)
        began = time.monotonic()
        RateLimiter(limits, other).acquire(1)
    assert 0.4 < time.monotonic() - began < 1.5


def test_limits_that_the_server_reports_apply_when_none_are_set() -> None:
    rate_limiter = RateLimiter(WindowLimits(requests=50))
    rate_limiter.learn(RateLimits(requests_per_minute=3000, tokens_per_minute=200_000))
    assert rate_limiter.max_request_tokens == 4000
    assert RateLimiter(WindowLimits(requests=50)).max_request_tokens > 1e9


def test_stopping_ends_the_wait_for_the_limit() -> None:
    rate_limiter = RateLimiter(WindowLimits())
    rate_limiter.pause(60)
    threading.Timer(0.1, rate_limiter.stop).start()
    began = time.monotonic()
    with pytest.raises(TransientError, match="stopped"):
        rate_limiter.acquire(1)
    assert time.monotonic() - began < 5


def test_a_clock_that_was_set_back_does_not_pause_for_ever() -> None:
    rates = Rates(WindowLimits(tokens=60_000))
    state, _ = Pause(10**12).step(rates.pair, (0, 0), START, 0)
    _, decision = Pair().step(rates.pair, state, START, 1)
    assert decision.retry_after_ms is not None
    assert decision.retry_after_ms <= 600_000


def test_overlapping_times_count_once() -> None:
    watch = Stopwatch()
    with watch, watch:
        time.sleep(0.05)
    assert 0.04 < watch.seconds < 0.2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "120", "retry-after": "1"}, 0.12),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after_comes_in_seconds_milliseconds_or_as_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


def headers(kind: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    names = ("limit", "remaining", "reset")
    return {f"x-ratelimit-{n}-{kind}": v for n, v in zip(names, (limit, remaining, reset), strict=True)}


@pytest.mark.parametrize(
    ("sent_headers", "expected"),
    [
        ({}, None),
        (headers("tokens", "1000000", "999000", "60ms"), RateLimits(0, 1_000_000)),
        (headers("requests", "3000", "2999", "20ms"), RateLimits(3000)),
        (headers("tokens", "1000000", "0", "1s"), RateLimits(0, 1_000_000, wait=1.0)),
        (headers("requests", "200", "199", "7m12s"), RateLimits(0)),  # a limit for a day
        (headers("requests", "200", "0", "6m0s"), RateLimits(0, wait=360.0)),
        (headers("tokens", "many", "some", "later"), None),
    ],
)
def test_rate_limit_headers(sent_headers: dict[str, str], expected: RateLimits | None) -> None:
    assert rate_limits(sent_headers) == expected


def test_a_429_waits_for_the_limit_with_least_remaining() -> None:
    sent_headers = headers("requests", "200", "150", "6m0s") | headers("tokens", "100000", "500", "57s")
    limits = rate_limits(sent_headers, rejected=True)
    assert limits is not None
    assert limits.wait == 57.0
