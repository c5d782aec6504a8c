"""One ranking of candidates with two scores: what each arm is worth, and what was asked for exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pgfolio.config.models.wordllama import BundledTokenizer, vocabulary_coverage
from pgfolio.query_api.retrieval.fusion import fuse_ranks, fuse_scores, rank_by_bm25, vector_share
from pgfolio.schema.search.question import Scored

if TYPE_CHECKING:
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.schema.search.vector import Candidate

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


def arms(similarities: list[float], words: list[float], max_bm25: float = 10.0) -> list[Scored]:
    """Candidates 1, 2 and so on, all of them near."""
    pairs = zip(similarities, words, strict=True)
    return [Scored(n, s, w, 0.0, max_bm25, in_vector_arm=True) for n, (s, w) in enumerate(pairs, 1)]


def fuse(scored: list[Scored], fusion: Fusion = "scores", weight: float = 1.0) -> list[Candidate]:
    return fuse_ranks(scored) if fusion == "rrf" else fuse_scores(scored, vector_share(scored, weight))


def order(scored: list[Scored], fusion: Fusion = "scores", weight: float = 1.0) -> list[int]:
    return [c.chunk_id for c in fuse(scored, fusion, weight)]


FLAT = [0.81 - 0.001 * n for n in range(30)]
PEAKED = [0.8, 0.5, *(0.3 - 0.001 * n for n in range(28))]


def test_an_arm_whose_first_are_all_the_same_does_not_drown_one_that_knows() -> None:
    words = [*(0.5 for _ in range(29)), 10.0]
    assert order(arms(FLAT, words))[0] == 30
    assert order(arms(FLAT[::-1], words[::-1]))[0] == 1


def test_words_that_cover_little_of_the_question_count_little() -> None:
    similarities = [0.8, *(0.5 - 0.001 * n for n in range(29))]
    words = [*(0.0 for _ in range(29)), 2.0]
    assert order(arms(similarities, words, max_bm25=2.0))[0] == 30
    assert order(arms(similarities, words, max_bm25=20.0))[0] == 1


def test_vectors_of_a_model_that_does_not_know_the_words_count_little() -> None:
    words = [*(2.0 for _ in range(29)), 10.0]
    assert order(arms(PEAKED, words))[0] == 1
    assert order(arms(PEAKED, words), weight=0.2)[0] == 30


def test_a_weight_gives_all_to_one_arm() -> None:
    scored = arms(PEAKED, [*(2.0 for _ in range(29)), 10.0])
    assert vector_share(scored, 0.0) == 0.0
    assert 0.98 < vector_share(scored, 100.0) < 1.0


def test_a_model_knows_the_words_that_are_its_tokens() -> None:
    tokenizer = BundledTokenizer()

    def known(text: str) -> float:
        return vocabulary_coverage(text, *tokenizer.count([text]))

    assert known("how do I turn off the wireless network in an airplane") == 1.0
    assert known('what is a "flow"?') == known("what is a flow") == 1.0
    assert 0.2 < known("cómo apago la red inalámbrica en un avión") < 0.6
    assert known("飛行機で無線ネットワークを無効にする方法") == 0.2
    assert known("...") == known("") == 1.0  # no word, nothing unknown


def test_a_chunk_that_is_good_by_both_comes_before_the_best_by_one() -> None:
    similarities = [0.8, 0.75, *(0.3 for _ in range(28))]
    words = [0.0, 9.0, 10.0, *(1.0 for _ in range(27))]
    assert order(arms(similarities, words))[0] == 2


def test_without_any_words_the_order_is_that_of_the_vectors() -> None:
    assert order(arms([0.5, 0.7, 0.6], [0.0, 0.0, 0.0], max_bm25=0.0)) == [2, 3, 1]


def test_rank_fusion_takes_places_alone() -> None:
    scored = arms([0.9, 0.8, 0.1], [0.1, 9.0, 8.0])
    assert order(scored, "rrf") == [2, 1, 3]
    assert order([replace(scored[0], similarity=0.81), *scored[1:]], "rrf") == [2, 1, 3]


@pytest.mark.parametrize("fusion", ["scores", "rrf"])
def test_exact_matches_come_first(fusion: Fusion) -> None:
    scored = arms([0.9, 0.8, 0.1], [9.0, 8.0, 0.5])
    assert order([*scored[:2], replace(scored[2], exact_match=7.0)], fusion)[0] == 3
    assert rank_by_bm25([*scored[:2], replace(scored[2], exact_match=7.0)])[0].chunk_id == 3


@given(candidates, st.sampled_from(["scores", "rrf"]))
def test_fusing_keeps_every_chunk_once_between_0_and_1_the_best_first(
    scored: list[Scored], fusion: Fusion
) -> None:
    fused = fuse(scored, fusion)
    assert sorted(c.chunk_id for c in fused) == sorted(c.chunk_id for c in scored)
    assert [c.score for c in fused] == sorted((c.score for c in fused), reverse=True)
    assert all(-1e-9 <= c.score <= 1 + 1e-9 for c in fused)
