"""Limits the rate of requests: all workers that share a key and a model keep within its limits, over any minute.

The limiter is pyrate_limiter's GCRA; its state, two numbers, stands in PostgreSQL. Flows leave a part of the limits
to the query side, whose few small requests are not counted here.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, cast

from pyrate_limiter import GCRA, Decision, InMemoryStateStore, Rate, StateAlgorithm, StateStore

from pgfolio.config.models.protocols import TransientError
from pgfolio.flows.embedding.stopwatch import Stopwatch
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import rate_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrate_limiter.abstracts.algorithm import State

    from pgfolio.config.models.protocols import RateLimits
    from pgfolio.schema.database.connect import Connection

BURST_FRACTION: Final = 0.04
"""Part of a limit that may be used at once. Requests are of half of it at most, so that a worker that wakes up
late (by 1.2 s, of a minute) still finds all of what was allowed meanwhile."""

MIN_UNIT_MICROSECONDS: Final = 1000
"""Tokens are counted in units that last at least so long: GCRA rounds a unit's time up to whole microseconds."""

MAX_PAUSE_SECONDS: Final = 60.0
"""Seconds that one worker can make the others wait: what a server says may be for a limit that is soon raised."""

MAX_AHEAD_MICROSECONDS: Final = 600 * 1_000_000
"""Microseconds from now beyond which a stored state is not believed: a clock was set back."""


REPORT_SECONDS: Final = 5.0
"""Seconds between two notes of what the server said remains."""


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """What may be used within any `window` seconds. 0: not limited, unless the server reports a limit."""

    requests: int = 0
    tokens: int = 0
    reserve: float = 0.0
    """The part left to others."""
    window: float = 60.0

    def completed_by(self, reported: RateLimits) -> WindowLimits:
        """With what the server says where nothing is set."""
        return WindowLimits(
            self.requests or reported.requests_per_minute,
            self.tokens or reported.tokens_per_minute,
            self.reserve,
            self.window,
        )


class Rates:
    """Limits as the limiter takes them. Over any window it admits `burst + sustained - 1` units at most, which is
    the limit without its reserve."""

    def __init__(self, limits: WindowLimits) -> None:
        share = BURST_FRACTION
        if limits.requests:  # few requests must be large ones, or the tokens could not be used
            share = min(0.5, max(share, 2 / limits.requests))
        self.unit, tokens = _rate(limits.tokens, limits, share, MIN_UNIT_MICROSECONDS)
        _, requests = _rate(limits.requests, limits, BURST_FRACTION, 1)
        self.pair: list[Rate] = [requests, tokens]
        self.max_request_tokens: float = max(1, tokens.burst * self.unit // 2) if limits.tokens else math.inf
        """What one request may hold."""
        self._token_microseconds = _emission(tokens) / self.unit if limits.tokens else 0.0

    def microseconds(self, tokens: int) -> float:
        """The time in which so many tokens are allowed."""
        return tokens * self._token_microseconds


class RateLimiter:
    """The turns of one run's requests. Safe to use from several threads.

    `store` is where the state stands; without one, in this process.
    """

    def __init__(self, limits: WindowLimits, store: StateStore | None = None) -> None:
        self.limited = Stopwatch()
        """Runs while a request that is ready is held back."""
        self._limits = limits
        self._rates = Rates(limits) if limits.requests or limits.tokens else None
        self._store = store or InMemoryStateStore()
        self._stopped = Event()
        self._turnstile = Lock()
        self._paused_until = 0.0

    @property
    def max_request_tokens(self) -> float:
        """Tokens that one request may hold; infinite without a limit."""
        return self._rates.max_request_tokens if self._rates else math.inf

    def stop(self) -> None:
        """End every wait now."""
        self._stopped.set()

    def acquire(self, tokens: int) -> float:
        """Wait until a request of so many tokens may go; returns what was charged for it, for `refund`.

        Raises TransientError when it is stopped.
        """
        if self._rates is None and time.monotonic() >= self._paused_until:
            return 0.0
        with self._turnstile:  # one asks for all: otherwise all would wake up for one turn
            while (wait := self._wait(tokens)) > 0:
                with self.limited:
                    self._stopped.wait(wait)
                if self._stopped.is_set():
                    raise TransientError("the run was stopped while it waited for the rate limit")
        return self._rates.microseconds(tokens) if self._rates else 0.0

    def refund(self, charged: float, tokens: int) -> None:
        """Replace what was charged for a request by the tokens that were billed for it."""
        if self._rates is None:
            return
        difference = round(self._rates.microseconds(tokens) - charged)
        if difference:
            self._check(Charge(difference))

    def learn(self, reported: RateLimits) -> None:
        """Learn limits that are not set; what remains of them is told to whoever monitors."""
        if reported.remaining and isinstance(self._store, SharedState):
            self._store.report(reported.remaining)
        limits = self._limits.completed_by(reported)
        if limits != self._limits:
            self._limits, self._rates = limits, Rates(limits)

    def pause(self, seconds: float) -> None:
        """Hold back all workers that share the limits, this run's even where no limit is known."""
        seconds = min(seconds, MAX_PAUSE_SECONDS)
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        if self._rates is not None and seconds > 0:
            self._check(Pause(round(seconds * 1_000_000)))

    def _wait(self, tokens: int) -> float:
        """Seconds until it is worth asking again; 0 when the turn was given."""
        if (remaining := self._paused_until - time.monotonic()) > 0:
            return remaining
        if self._rates is None:
            return 0.0
        decision = self._check(Pair(), max(1, round(tokens / self._rates.unit)))
        return 0.0 if decision.allowed else (decision.retry_after_ms or 1) / 1000

    def _check(self, algorithm: StateAlgorithm, weight: int = 0) -> Decision:
        assert self._rates is not None  # noqa: S101
        now = time.monotonic_ns() // 1_000_000  # a shared state has a clock of its own
        return cast("Decision", self._store.check(algorithm, self._rates.pair, now, weight))


class SharedState(StateStore):
    """The state in a row of `rate_limits`, locked while it is changed, by the database's clock.

    Opens its connection at the first check, for a run without limits needs none.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._lock = Lock()
        self._opened = ExitStack()
        self._connection: Connection | None = None
        self._report_at = 0.0

    def check(self, algorithm: StateAlgorithm, rates: Sequence[Rate], now: int, weight: int) -> Decision:
        del now
        with self._lock, self._open().transaction():
            known, clock = rate_limits.lock(self._open(), self._name, algorithm.initial(list(rates)))
            state, decision = algorithm.step(list(rates), known, clock, weight)
            if state != known:
                rate_limits.save(self._open(), self._name, state)
            return decision

    def report(self, remaining: Mapping[str, tuple[float, int]]) -> None:
        """What the server said remains, for monitoring; now and then."""
        with self._lock:
            if time.monotonic() >= self._report_at:
                self._report_at = time.monotonic() + REPORT_SECONDS
                rate_limits.report(self._open(), self._name, remaining)

    def read(self, algorithm: StateAlgorithm, rates: Sequence[Rate]) -> State:
        with self._lock:
            return rate_limits.state(self._open(), self._name) or algorithm.initial(list(rates))

    def reset(self) -> None:
        with self._lock:
            rate_limits.forget(self._open(), self._name)

    def close(self) -> None:
        with self._lock:
            self._opened.close()
            self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._opened.enter_context(connect(self._conninfo, autocommit=True))
        return self._connection


class Pair(GCRA):
    """GCRA over requests and tokens at once: one of the first and `weight` units of the second, or nothing.

    A weight over the burst waits for a full bucket and leaves the rest as a debt.
    """

    def step(self, rates: Sequence[Rate], state: State, now: int, weight: int) -> tuple[State, Decision]:
        after = []
        for rate, arrival, units in zip(rates, state, (1, weight), strict=True):
            believed = min(arrival, now * 1000 + MAX_AHEAD_MICROSECONDS)
            (advanced,), decision = super().step([rate], (believed,), now, min(units, rate.burst))
            if not decision.allowed:
                return state, decision
            after.append(advanced + max(0, units - rate.burst) * _emission(rate))
        return tuple(after), Decision()


class Charge(Pair):
    """Adds to what was used of the tokens, or takes from it, without asking."""

    def __init__(self, microseconds: int) -> None:
        self._microseconds = microseconds

    def step(self, rates: Sequence[Rate], state: State, now: int, weight: int) -> tuple[State, Decision]:
        del rates, weight
        requests, tokens = state
        since = max(tokens, now * 1000) if self._microseconds > 0 else tokens
        return (requests, since + self._microseconds), Decision()


class Pause(Pair):
    """Admits nothing for a while; what was saved up until then is forgotten."""

    def __init__(self, microseconds: int) -> None:
        self._microseconds = microseconds

    def step(self, rates: Sequence[Rate], state: State, now: int, weight: int) -> tuple[State, Decision]:
        del weight
        until = now * 1000 + self._microseconds
        paused = (
            max(known, until + rate.burst * _emission(rate)) for rate, known in zip(rates, state, strict=True)
        )
        return tuple(paused), Decision()


def _rate(limit: int, limits: WindowLimits, share: float, shortest: int) -> tuple[int, Rate]:
    """Tokens or requests in one of the limiter's units, and the rate in such units.

    `1000 units in n milliseconds` is its way to say n microseconds a unit, without a fraction to be rounded.
    """
    if not limit:
        return 1_000_000_000, Rate(1000, 1, burst=1_000_000)
    allowed = max(1, math.floor(limit * (1 - limits.reserve)))
    burst = max(1, math.floor(limit * share))
    microseconds = limits.window * 1_000_000 / max(1, allowed - burst + 1)
    unit = min(burst, max(1, math.ceil(shortest / microseconds)))
    return unit, Rate(1000, math.ceil(microseconds * unit), burst=burst // unit)


def _emission(rate: Rate) -> int:
    """Microseconds of one unit, for rates made by `_rate`."""
    return rate.interval
