"""One ranking of candidates with two scores: what each arm is worth, and what was asked for exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.fuse import Fusion, by_words, fuse
from schema.words import Scored

candidates = st.lists(
    st.builds(
        Scored,
        st.integers(1, 300),
        st.floats(-1, 1),
        st.floats(0, 100),
        st.sampled_from([0.0, 0.0, 5.0, 20.0]),
        st.just(30.0),
        st.booleans(),
    ),
    unique_by=lambda c: c.chunk_id,
    max_size=60,
)


def arms(similarities: list[float], words: list[float], whole: float = 10.0) -> list[Scored]:
    """Candidates 1, 2 and so on, all of them near."""
    pairs = zip(similarities, words, strict=True)
    return [Scored(n, s, w, 0.0, whole, near=True) for n, (s, w) in enumerate(pairs, 1)]


def order(found: list[Scored], fusion: Fusion = "scores") -> list[int]:
    return [c.chunk_id for c in fuse(found, fusion)]


FLAT = [0.81 - 0.001 * n for n in range(30)]
PEAKED = [0.8, 0.5, *(0.3 - 0.001 * n for n in range(28))]


def test_an_arm_whose_first_are_all_the_same_does_not_drown_one_that_knows() -> None:
    words = [*(0.5 for _ in range(29)), 10.0]
    assert order(arms(FLAT, words))[0] == 30
    assert order(arms(FLAT[::-1], words[::-1]))[0] == 1


def test_words_that_cover_little_of_the_question_count_little() -> None:
    words = [*(0.0 for _ in range(29)), 2.0]
    assert order(arms(PEAKED, words, whole=2.0))[0] == 30
    assert order(arms(PEAKED, words, whole=20.0))[0] == 1


def test_a_chunk_that_is_good_by_both_comes_before_the_best_by_one() -> None:
    similarities = [0.8, 0.75, *(0.3 for _ in range(28))]
    words = [0.0, 9.0, 10.0, *(1.0 for _ in range(27))]
    assert order(arms(similarities, words))[0] == 2


def test_without_any_words_the_order_is_that_of_the_vectors() -> None:
    assert order(arms([0.5, 0.7, 0.6], [0.0, 0.0, 0.0], whole=0.0)) == [2, 3, 1]


def test_rank_fusion_takes_places_alone() -> None:
    found = arms([0.9, 0.8, 0.1], [0.1, 9.0, 8.0])
    assert order(found, "rrf") == [2, 1, 3]
    assert order([replace(found[0], similarity=0.81), *found[1:]], "rrf") == [2, 1, 3]


@pytest.mark.parametrize("fusion", ["scores", "rrf"])
def test_what_was_asked_for_exactly_comes_first(fusion: Fusion) -> None:
    found = arms([0.9, 0.8, 0.1], [9.0, 8.0, 0.5])
    assert order([*found[:2], replace(found[2], exact=7.0)], fusion)[0] == 3
    assert by_words([*found[:2], replace(found[2], exact=7.0)])[0].chunk_id == 3


@given(candidates, st.sampled_from(["scores", "rrf"]))
def test_fusing_keeps_every_chunk_once_between_0_and_1_the_best_first(
    found: list[Scored], fusion: Fusion
) -> None:
    fused = fuse(found, fusion)
    assert sorted(c.chunk_id for c in fused) == sorted(c.chunk_id for c in found)
    assert [c.score for c in fused] == sorted((c.score for c in fused), reverse=True)
    assert all(-1e-9 <= c.score <= 1 + 1e-9 for c in fused)
