"""What of a result fits into a budget of tokens."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.query_api.service.mcp.budget import (
    ENVELOPE_TOKENS,
    estimated_tokens,
    fitting,
    shortened_text,
)
from pgfolio.query_api.service.mcp.contracts import ToolPassage

TEXTS = st.text(st.characters(codec="utf-8"), max_size=400)


def passage(text: str, start: int = 0) -> ToolPassage:
    return ToolPassage(
        id="1", title="T", path="a.md", collection="c", heading="", page=None, date=None, url="", text=text,
        start=start, end=start + len(text), score=1.0,
    )  # fmt: skip


@given(TEXTS, st.integers(1, 200))
def test_a_shortened_text_is_a_beginning_that_fits(text: str, tokens: int) -> None:
    shortened = shortened_text(text, tokens)
    assert text.startswith(shortened)
    assert len(shortened) <= 1 or len(msgspec.json.encode(shortened)) - 2 <= 3 * tokens
    assert bool(shortened) == bool(text)


@pytest.mark.parametrize("unit", ["a word ", "漢字", '"\\', "\x01", "🙂"])
def test_of_any_script_most_of_the_budget_is_used(unit: str) -> None:
    shortened = shortened_text(unit * 3000, 500)
    assert 1000 <= len(msgspec.json.encode(shortened)) <= 1502


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(500, 900))
def test_passages_keep_to_the_budget_and_one_is_always_there(texts: list[str], tokens: int) -> None:
    passages = [passage(text) for text in texts]
    fitted = fitting(passages, tokens)
    assert 1 <= len(fitted) <= len(passages)
    assert fitted[1:] == passages[1 : len(fitted)]
    if len(fitted) > 1 or fitted[0] == passages[0]:
        assert sum(map(estimated_tokens, fitted)) <= tokens - ENVELOPE_TOKENS


def test_a_passage_that_is_cut_says_where_it_goes_on() -> None:
    (cut,) = fitting([passage("lamp " * 2000, start=70), passage("b")], 600)
    assert cut.continue_at == 70 + len(cut.text)
    assert len(cut.text) > 500
