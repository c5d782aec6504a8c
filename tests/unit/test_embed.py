"""Batches, retries, halving and the budget, with models that are written for the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.models.base import Embeddings, FatalModelError, RefusedError, TransientError
from flows.embed import Bounds, BudgetSpentError, Embedder, Refusal, batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOUNDS = Bounds(inputs=4, tokens=100, deadline=5.0)


class Model:
    """An embedding model whose answer is a function of the texts; it remembers what it was asked."""

    dimensions = 2
    in_flight = 1

    def __init__(self, answer: Callable[[Sequence[str]], np.ndarray]) -> None:
        self.asked: list[list[str]] = []
        self._answer = answer

    def embed(self, texts: Sequence[str]) -> Embeddings:
        self.asked.append(list(texts))
        return Embeddings(self._answer(texts), tokens=len(texts))


def lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


@given(st.lists(st.integers(0, 60)), st.integers(1, 5), st.integers(1, 100))
def test_batches_cover_everything_in_order_within_both_bounds(
    tokens: list[int], inputs: int, limit: int
) -> None:
    slices = list(batches(tokens, inputs, limit))
    assert [i for start, end in slices for i in range(start, end)] == list(range(len(tokens)))
    assert all(end - start <= inputs for start, end in slices)
    assert all(sum(tokens[start:end]) <= limit or end - start == 1 for start, end in slices)


def test_vectors_come_back_in_order_and_of_length_one() -> None:
    texts = ["a" * n for n in range(1, 11)]
    vectors = Embedder(Model(lengths), BOUNDS).embed(texts, [1] * 10)
    expected = lengths(texts) / np.linalg.norm(lengths(texts), axis=1, keepdims=True)
    assert np.allclose(np.stack([v for v in vectors if not isinstance(v, Refusal)]), expected)


def test_a_transient_failure_is_tried_again() -> None:
    failures = iter([TransientError("busy", retry_after=0.0), TransientError("busy", retry_after=0.01)])

    def answer(texts: Sequence[str]) -> np.ndarray:
        for failure in failures:
            raise failure
        return lengths(texts)

    model = Model(answer)
    Embedder(model, BOUNDS).embed(["a"], [1])
    assert model.asked == [["a"]] * 3


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
    assert len(model.asked) == 1


def test_a_refused_batch_is_halved_until_the_guilty_text_stands_alone() -> None:
    def answer(texts: Sequence[str]) -> np.ndarray:
        if "poison" in texts:
            raise RefusedError("not this")
        return lengths(texts)

    results = Embedder(Model(answer), BOUNDS).embed(["a", "poison", "b", "c"], [1] * 4)
    assert [isinstance(result, Refusal) for result in results] == [False, True, False, False]


def test_a_zero_vector_is_refused() -> None:
    results = Embedder(Model(lambda texts: np.zeros((len(texts), 2), np.float32)), BOUNDS).embed(["a"], [1])
    assert results == [Refusal("the model gives it a zero vector")]


def test_the_budget_stops_before_the_request_that_would_pass_it() -> None:
    model = Model(lengths)
    embedder = Embedder(model, Bounds(1, 100, 5.0), usd_per_million_tokens=1_000_000, max_cost=2.0)
    with pytest.raises(BudgetSpentError):
        embedder.embed(["a", "b", "c"], [1, 1, 1])
    assert model.asked == [["a"], ["b"]]


def test_stopping_ends_a_long_wait_at_once() -> None:
    embedder: Embedder

    def answer(_: Sequence[str]) -> np.ndarray:
        embedder.stop()
        raise TransientError("down", retry_after=3600)

    embedder = Embedder(Model(answer), Bounds(1, 100, 7200))
    with pytest.raises(TransientError):
        embedder.embed(["a"], [1])
