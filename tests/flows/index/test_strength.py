"""How much a model's similarities count, by what it knows of the corpus' own texts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pgfolio.flows.index.strength import MAX_WEIGHT, Strength, Vectors, fragment, nearness, strength, weight

COUNT = 64
RULER = Strength(identity=0.9, meaning=0.3, peakedness=0.5)


def known(noise: float) -> Vectors:
    """Of a model that sees what a fragment is about through so much noise."""
    rng = np.random.default_rng(1)
    about = rng.normal(size=(COUNT, 32))
    return Vectors(*(about + noise * rng.normal(size=about.shape) for _ in range(3)))


def test_a_fragment_shares_no_word_with_what_follows_it() -> None:
    words = [f"word{chr(97 + n % 26)}{n}" for n in range(20)]
    made = fragment(" ".join(["Tables", "lists", *words, "table", "list.", *words[:5]]))
    assert made is not None
    stems = [{word.casefold()[:5] for word in text.split()} for text in (made.text, made.following)]
    assert not stems[0] & stems[1]


@pytest.mark.parametrize(
    "text",
    [
        "今日は天気がいいので公園まで歩いて行きました。帰りに新しい本屋を見つけて三冊も買った。" * 2,
        "короткий текст",
    ],
)
def test_scripts_without_spaces_have_fragments_too_and_short_texts_none(text: str) -> None:
    made = fragment(text)
    assert (made is None) == (len(text) < 20)
    assert made is None or " " not in made.text


def test_nearness_is_1_for_the_first_and_a_logarithm_s_part_by_chance() -> None:
    assert nearness(np.eye(COUNT)) == 1
    assert nearness(np.random.default_rng(1).normal(size=(1000, 1000))) == pytest.approx(
        1 / math.log(1000), abs=0.02
    )


def test_the_ruler_itself_has_weight_1() -> None:
    assert weight(RULER, RULER) == 1
    assert strength(known(0.5)) == strength(known(0.5))


def test_who_knows_more_leads_and_who_knows_less_follows() -> None:
    ruler = strength(known(1.5))
    weights = [weight(strength(known(noise)), ruler) for noise in (0.5, 1.5, 2.5, 100.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == MAX_WEIGHT
    assert weights[1] == 1
    assert weights[-1] == 0


def test_the_scale_of_similarities_is_undone() -> None:
    """One whose similarities all lie close together means as much by a small difference."""
    narrow = Strength(RULER.identity, RULER.meaning, RULER.peakedness / 1.25)
    assert weight(narrow, RULER) == 1.25
    wide = Strength(RULER.identity, RULER.meaning, RULER.peakedness * 2)
    assert weight(wide, RULER) == 0.5
    clueless = Strength(RULER.identity / 2, RULER.meaning / 2, RULER.peakedness / 100)
    assert weight(RULER, clueless) == MAX_WEIGHT


def test_vectors_that_say_nothing_have_no_weight() -> None:
    same = np.ones((COUNT, 8))
    assert weight(strength(Vectors(same, same, same)), RULER) == 0
    zero = np.zeros((COUNT, 8))
    assert weight(strength(Vectors(zero, zero, zero)), RULER) == 0
