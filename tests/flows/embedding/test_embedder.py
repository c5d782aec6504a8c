"""Batches, retries, halving and the budget, with models that are written for the test."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.config.models.protocols import (
    BadAnswerError,
    Embeddings,
    FatalModelError,
    RateLimitedError,
    RateLimits,
    RejectedInputError,
    TransientError,
)
from pgfolio.flows.embedding.batching import POSTPONED, Bounds, RejectedInput, batch_slices
from pgfolio.flows.embedding.budget import Budget, BudgetSpentError
from pgfolio.flows.embedding.embedder import Embedder
from pgfolio.flows.embedding.rate_limit import RateLimiter, WindowLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOUNDS = Bounds(inputs=4, tokens=100, deadline=5.0)


class Model:
    """An embedding model whose answer is a function of the texts; it remembers what it was asked."""

    dimensions = 2
    in_flight = 1

    def __init__(self, answer: Callable[[Sequence[str]], np.ndarray]) -> None:
        self.requests: list[list[str]] = []
        self._answer = answer

    def embed(self, texts: Sequence[str]) -> Embeddings:
        self.requests.append(list(texts))
        return Embeddings(self._answer(texts), tokens=len(texts))


def lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


@given(st.lists(st.integers(0, 60)), st.integers(1, 5), st.integers(1, 100))
def test_batches_cover_everything_in_order_within_both_bounds(
    tokens: list[int], inputs: int, limit: int
) -> None:
    slices = list(batch_slices(tokens, inputs, limit))
    assert [i for start, end in slices for i in range(start, end)] == list(range(len(tokens)))
    assert all(end - start <= inputs for start, end in slices)
    assert all(sum(tokens[start:end]) <= limit or end - start == 1 for start, end in slices)


def test_vectors_come_back_in_order_and_of_length_one() -> None:
    texts = ["a" * n for n in range(1, 11)]
    vectors = Embedder(Model(lengths), BOUNDS).embed(texts, [1] * 10)
    expected = lengths(texts) / np.linalg.norm(lengths(texts), axis=1, keepdims=True)
    assert np.allclose(np.stack([v for v in vectors if isinstance(v, np.ndarray)]), expected)


def test_a_transient_failure_is_tried_again() -> None:
    failures = iter([TransientError("busy", retry_after=0.0), TransientError("busy", retry_after=0.01)])

    def answer(texts: Sequence[str]) -> np.ndarray:
        for failure in failures:
            raise failure
        return lengths(texts)

    model = Model(answer)
    Embedder(model, BOUNDS).embed(["a"], [1])
    assert model.requests == [["a"]] * 3


def test_a_deadline_ends_the_retries() -> None:
    def answer(_: Sequence[str]) -> np.ndarray:
        raise TransientError("down", retry_after=0.01)

    with pytest.raises(TransientError, match="down"):
        Embedder(Model(answer), Bounds(4, 100, deadline=0.05)).embed(["a"], [1])


def test_a_fatal_failure_is_not_tried_again() -> None:
    def answer(_: Sequence[str]) -> np.ndarray:
        raise FatalModelError("the quota is spent")

    model = Model(answer)
    with pytest.raises(FatalModelError):
        Embedder(model, BOUNDS).embed(["a"], [1])
    assert len(model.requests) == 1


def test_a_rejected_batch_is_bisected_until_the_rejected_text_stands_alone() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if "poison" in texts:
            raise RejectedInputError("not this")
        return lengths(texts)

    results = Embedder(Model(answer), BOUNDS).embed(["a", "poison", "b", "c"], [1] * 4)
    assert [isinstance(result, RejectedInput) for result in results] == [False, True, False, False]


def test_a_zero_vector_is_rejected() -> None:
    results = Embedder(Model(lambda texts: np.zeros((len(texts), 2), np.float32)), BOUNDS).embed(["a"], [1])
    assert results == [RejectedInput("the model gives it a zero vector")]


def test_the_budget_stops_before_the_request_that_would_pass_it() -> None:
    model = Model(lengths)
    embedder = Embedder(model, Bounds(1, 100, 5.0), usd_per_million_tokens=1_000_000, max_cost=2.0)
    results = embedder.embed(["a", "b", "c", "d"], [1, 1, 1, 1])
    assert [result is POSTPONED for result in results] == [False, False, True, True]
    assert model.requests == [["a"], ["b"]]


def test_stopping_ends_a_long_wait_at_once() -> None:
    embedder: Embedder

    def answer(_: Sequence[str]) -> np.ndarray:
        embedder.stop()
        raise TransientError("down", retry_after=3600)

    embedder = Embedder(Model(answer), Bounds(1, 100, 7200))
    with pytest.raises(TransientError):
        embedder.embed(["a"], [1])


def test_stopping_ends_the_wait_for_the_rate_limit() -> None:
    rate_limiter = RateLimiter(WindowLimits())
    rate_limiter.pause(60)
    embedder = Embedder(Model(lengths), BOUNDS, rate_limiter=rate_limiter)
    threading.Timer(0.1, embedder.stop).start()
    began = time.monotonic()
    with pytest.raises(TransientError, match="stopped"):
        embedder.embed(["a"], [1])
    assert time.monotonic() - began < 5


def test_what_is_paid_for_is_reported_as_it_comes() -> None:
    reported: list[tuple[list[int], int]] = []
    embedder = Embedder(Model(lengths), Bounds(2, 100, 5.0))
    embedder.embed(["a", "b", "c"], [1, 1, 1], lambda at, vectors: reported.append((list(at), len(vectors))))
    assert reported == [([0, 1], 2), ([2], 1)]


def test_a_rejected_batch_does_not_count_against_the_cost() -> None:
    """Every half of it fits into a budget that would not cover it twice."""

    def answer(texts: Sequence[str]) -> np.ndarray:
        if "poison" in texts:
            raise RejectedInputError("not this")
        return lengths(texts)

    embedder = Embedder(Model(answer), BOUNDS, usd_per_million_tokens=1_000_000, max_cost=4.0)
    results = embedder.embed(["poison", "a", "b", "c"], [1] * 4)
    assert results[0] == RejectedInput("not this")
    assert [isinstance(result, np.ndarray) for result in results] == [False, True, True, True]
    assert embedder.spending.cost_usd == 3.0


def test_after_a_batch_that_is_postponed_a_smaller_one_may_still_fit() -> None:
    embedder = Embedder(Model(lengths), BOUNDS, usd_per_million_tokens=1_000_000, max_cost=2.0)
    assert embedder.embed(["a", "b", "c"], [1, 1, 1]) == [POSTPONED] * 3
    (result,) = embedder.embed(["a"], [1])
    assert isinstance(result, np.ndarray)


def test_the_servers_count_of_tokens_is_learned() -> None:
    budget = Budget(1.0)
    with budget.reserved(budget.estimate(100)) as bill:
        bill.counted, bill.tokens = 100, 150
    assert budget.tokens == 150
    assert budget.estimate(100) == 150
    with budget.reserved(150) as bill:
        bill.counted, bill.tokens = 100, 100
    assert budget.estimate(100) == 145


def test_only_the_rows_with_nan_are_sent_again_and_then_rejected() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        return np.array([[np.nan if text == "bad" else 1.0, 1.0] for text in texts], dtype=np.float32)

    model = Model(answer)
    good, bad, other = Embedder(model, BOUNDS).embed(["a", "bad", "b"], [1] * 3)
    assert isinstance(good, np.ndarray)
    assert isinstance(other, np.ndarray)
    assert isinstance(bad, RejectedInput)
    assert bad.transient
    assert model.requests == [["a", "bad", "b"], ["bad"], ["bad"]]


def test_what_a_server_takes_at_once_is_learned_from_the_halves_that_it_answers() -> None:
    """Without a number in its words each batch was halved anew: 12,210 requests for 6,567 chunks."""

    def answer(texts: Sequence[str]) -> np.ndarray:
        if sum(map(int, texts)) > 100:
            raise RejectedInputError("too large", "input is too large", by_size=True)
        return lengths(texts)

    model = Model(answer)
    embedder = Embedder(model, replace(BOUNDS, inputs=64, tokens=10_000))
    for _ in range(10):
        results = embedder.embed(["10"] * 63 + ["400"], [10] * 63 + [400])
        assert [isinstance(result, RejectedInput) for result in results] == [False] * 63 + [True]
    assert sum(sum(map(int, texts)) > 100 for texts in model.requests) < 20
    assert len(model.requests) < 110  # 630 texts, ten at once


def test_a_batch_that_is_answered_badly_three_times_is_halved() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if "odd" in texts:
            raise BadAnswerError("1 vectors to 2 inputs")
        return lengths(texts)

    model = Model(answer)
    results = Embedder(model, BOUNDS).embed(["a", "odd", "b", "c"], [1] * 4)
    assert results[1] == RejectedInput("1 vectors to 2 inputs", transient=True)
    assert model.requests[3] == ["hello"]  # whether it answers anything
    assert [len(texts) for texts in model.requests] == [4, 4, 4, 1, 2, 1, 1, 1, 1, 2]


def test_a_text_that_breaks_the_server_is_found_when_a_plain_word_still_succeeds() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if "poison" in texts:
            raise TransientError("the server failed (500)")
        return lengths(texts)

    results = Embedder(Model(answer), Bounds(4, 100, deadline=0.1)).embed(["a", "poison", "b", "c"], [1] * 4)
    assert results[1] == RejectedInput("the server failed (500)", transient=True)
    assert [isinstance(result, np.ndarray) for result in results] == [True, False, True, True]


@pytest.mark.parametrize("error", [RejectedInputError("no"), BadAnswerError("0 vectors to 1 inputs")])
def test_a_server_that_refuses_everything_ends_the_run_soon(error: Exception) -> None:
    def answer(_: Sequence[str]) -> np.ndarray:
        raise error

    model = Model(answer)
    with pytest.raises(FatalModelError, match="answers but refuses everything"):
        Embedder(model, Bounds(256, 10_000, 5.0)).embed(["text"] * 1000, [1] * 1000)
    assert len(model.requests) < 200


def test_forty_texts_that_are_rejected_for_themselves_fail_alone() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if any("poison" in text for text in texts):
            raise RejectedInputError("not this")
        return lengths(texts)

    texts = ["poison"] * 40 + ["fine"] * 24
    results = Embedder(Model(answer), Bounds(64, 1000, 5.0)).embed(texts, [1] * 64)
    assert [isinstance(result, RejectedInput) for result in results] == [True] * 40 + [False] * 24


def test_a_rate_limit_does_not_use_up_the_deadline_while_others_succeed() -> None:
    """Of two calls one is refused for longer than the deadline, by a server that is busy with the other."""
    until = time.monotonic() + 2.0

    def answer(texts: Sequence[str]) -> np.ndarray:
        if "late" in texts and time.monotonic() < until:
            raise RateLimitedError("busy", retry_after=0.02)
        return lengths(texts)

    embedder = Embedder(Model(answer), Bounds(1, 100, deadline=0.6), rate_limiter=RateLimiter(WindowLimits()))
    results: list[object] = []
    other = threading.Thread(target=lambda: results.extend(embedder.embed(["late"], [1])))
    other.start()
    while time.monotonic() < until:
        embedder.embed(["a"], [1])
        time.sleep(0.02)
    other.join()
    assert isinstance(results[0], np.ndarray)
    assert embedder.spending.rate_limited > 1.0


def test_a_wait_that_is_too_long_ends_the_run_and_says_how_long() -> None:
    def answer(_: Sequence[str]) -> np.ndarray:
        raise RateLimitedError("rate limit (429)", retry_after=7500)

    with pytest.raises(FatalModelError, match="2:05:00 before the next request; run it again after that"):
        Embedder(Model(answer), BOUNDS).embed(["a"], [1])


def test_a_batch_over_a_limit_that_came_with_the_429_is_divided() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if len(texts) > 20:
            raise RateLimitedError("too many tokens", 0.0, RateLimits(tokens_per_minute=50_000))
        return lengths(texts)

    model = Model(answer)
    rate_limiter = RateLimiter(WindowLimits(window=6.0))
    embedder = Embedder(model, Bounds(100, 100_000, deadline=0.1), rate_limiter=rate_limiter)
    assert len(embedder.embed(["a"] * 40, [100] * 40)) == 40
    assert [len(texts) for texts in model.requests[:2]] == [40, 9]  # of 1,000 tokens nearly


def test_a_fatal_failure_ends_the_waits_of_the_other_workers() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if texts[0] == "fatal":
            raise FatalModelError("the quota is spent")
        raise TransientError("down", retry_after=60)

    embedder = Embedder(Model(answer), BOUNDS)
    errors: list[Exception] = []

    def waiting() -> None:
        try:
            embedder.embed(["a"], [1])
        except FatalModelError as error:
            errors.append(error)

    other = threading.Thread(target=waiting)
    other.start()
    time.sleep(0.2)
    with pytest.raises(FatalModelError):
        embedder.embed(["fatal"], [1])
    other.join(5)
    assert [str(error) for error in errors] == ["the quota is spent"]


def test_until_the_first_bill_requests_within_a_budget_go_one_by_one() -> None:
    """Of four at once, each billed at three times our count, all would have been sent for what one was to cost."""
    budget = Budget(1.0, max_cost=4.0)

    def request(_: int) -> bool:
        try:
            with budget.reserved(budget.estimate(1)) as bill:
                time.sleep(0.02)
                bill.counted, bill.tokens = 1, 3
        except BudgetSpentError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(request, range(4))) <= 2
    assert budget.cost <= 6


def test_a_run_has_one_budget() -> None:
    embedder = Embedder(Model(lengths), BOUNDS, usd_per_million_tokens=1_000_000, max_cost=3.0, spent_usd=2.0)
    (first,) = embedder.embed(["a"], [1])
    assert first is not POSTPONED
    assert embedder.embed(["b"], [1]) == [POSTPONED]
