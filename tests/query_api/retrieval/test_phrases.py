"""What of a question is meant word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.query_api.retrieval.phrases import MAX_PHRASE_CHARACTERS, MAX_PHRASES, is_number, parse_question
from pgfolio.schema.search.question import Question


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('how does "retry policy" work', ("retry policy",)),
        (
            "“one two” and „drei vier“ and «cinq six» and 「七八」",
            ("one two", "drei vier", "cinq six", "七八"),
        ),
        ('an "open quote', ()),
        ("don't 'quote' this", ()),
        ('"" " " "?!"', ()),
        ('"twice" "twice"', ("twice",)),
        ('"a\n  b"', ("a b",)),
    ],
)
def test_quotation_marks_mean_a_phrase(text: str, phrases: tuple[str, ...]) -> None:
    assert parse_question(text).phrases == phrases


@pytest.mark.parametrize(
    ("text", "number"),
    [("3.2.0", True), ("v3.2.0?", True), ("10.0.0.7 2024-05-17", True), ("python 3.10", False), ("3.2.0rc1", False),
     ("?", False), ("水", False), ("第3章", False), ("vv3", False)],
)  # fmt: skip
def test_a_number_is_no_word(text: str, number: bool) -> None:
    assert is_number(text) is number


def test_what_has_no_width_does_not_split_a_word() -> None:
    assert parse_question('re\u200btry\ufeff "a b\u2060c"') == Question('retry "a bc"', ("a bc",))


@given(st.text(max_size=400))
def test_any_text_is_a_question_that_can_be_stored(text: str) -> None:
    parsed = parse_question(text)
    parsed.text.encode()
    assert "\x00" not in parsed.text
    assert len(parsed.phrases) <= MAX_PHRASES
    assert all(0 < len(phrase) <= MAX_PHRASE_CHARACTERS for phrase in parsed.phrases)
