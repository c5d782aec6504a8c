"""Which passages of a chunk can be quoted. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.query_api.answering.sentences import excerpt, passages
from pgfolio.schema.markdown import Span

if TYPE_CHECKING:
    from collections.abc import Sequence


def complete_sentences(content: str, code: Sequence[Span] | None = None) -> list[str]:
    return [p.text for p in passages(content, code) if p.is_complete]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("A task can be retried. It runs once more then.", ["A task can be retried.", "It runs once more then."]),
        ("# A heading is no sentence.\n\nBut this is surely one.", ["But this is surely one."]),
        ("This looks like a heading.\n=====\n\nBut this is surely one.", ["But this is surely one."]),
        ("Before the code stands this.\n\n```python\nIt is no prose at all.\n```\nAfter it stands this.",
         ["Before the code stands this.", "After it stands this."]),
        ("~~~\nIt is no prose at all.\n~~~", []),
        ("- An item is a sentence too.\n- And so is the next.",
         ["An item is a sentence too.", "And so is the next."]),
        ("1. An item is a sentence too.", ["An item is a sentence too."]),
        ("> What is quoted is prose.", ["What is quoted is prose."]),
        ("A paragraph may go on\nover several lines. And end there soon.",
         ["A paragraph may go on\nover several lines.", "And end there soon."]),
        ("[Only a link](https://a.b) [and another](https://c.d)", []),
        ("See [this page](https://a.b/c.d) for how to do it.",
         ["See [this page](https://a.b/c.d) for how to do it."]),
        ("| a table | is no prose. |\n|---|---|", []),
        ("<Note>\nWhat a note says is prose.\n</Note>", ["What a note says is prose."]),
        ('import Thing from "somewhere/else.js"', []),
        ("cut off at its beginning. This one is not cut off.", ["This one is not cut off."]),
        ("This one is not cut off. This one is cut", ["This one is not cut off."]),
        ("Use e.g. the second one of them. Version 3.8.1 is out since today.",
         ["Use e.g. the second one of them.", "Version 3.8.1 is out since today."]),
        ("Is this really a question? Yes, it is really one!",
         ["Is this really a question?", "Yes, it is really one!"]),
        ("Too short.", []),
        ("all of this is in lower case . so nothing is cut off here .",
         ["all of this is in lower case .", "so nothing is cut off here ."]),
        ("数据库保存所有的文档。然后可以搜索它们。", ["数据库保存所有的文档。", "然后可以搜索它们。"]),
    ],
)  # fmt: skip
def test_complete_sentences_are_extracted(content: str, expected: list[str]) -> None:
    assert complete_sentences(content) == expected


def test_a_chunk_that_begins_in_code_is_code_until_the_fence() -> None:
    content = "It is no prose at all.\n```\nAfter it stands this."
    assert complete_sentences(content, [Span(0, content.index("\nAfter"))]) == ["After it stands this."]


def test_without_a_sentence_the_first_lines_are_quoted() -> None:
    content = "\n```\n" + "x = 1\n" * 200
    quoted = excerpt(content)
    assert content[quoted.start : quoted.end] == quoted.text
    assert 100 < len(quoted.text) <= 300
    assert not quoted.is_complete


@given(st.text(alphabet=st.sampled_from("ab A.?!\n#-`|[]() *>1。"), max_size=200), st.integers(0, 200))
def test_a_passage_is_always_the_contents_own_text(content: str, code_end: int) -> None:
    passages_ = passages(content, [Span(0, min(code_end, len(content)))])
    assert [content[p.start : p.end] for p in passages_] == [p.text for p in passages_]
    assert [p.start for p in passages_] == sorted({p.start for p in passages_})


@given(st.text(max_size=400))
def test_an_excerpt_is_always_the_contents_own_text(content: str) -> None:
    quoted = excerpt(content)
    assert content[quoted.start : quoted.end] == quoted.text


@pytest.mark.parametrize(
    "repeated", ["A. ", "[", "[a](", "...", "Smith, J. A., Doe, B. C., ", "a\n\n", "- ", "<a "]
)
def test_a_text_of_any_kind_takes_no_longer_than_its_length_asks_for(repeated: str) -> None:
    """It took 195 s for the first."""
    text = (repeated * 200_000)[:200_000] + " x"
    began = time.process_time()
    passages(text)
    assert time.process_time() - began < 3.0
