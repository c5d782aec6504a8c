"""The reader of Markdown, by hand-made cases and beside a CommonMark parser. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyromark
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.schema.markdown import code_blocks, code_spans, headings, plain, without_code

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = [
    "# One",
    "   ## Two ##",
    "Title\n===",
    "text with `code`",
    "```",
    "```` info",
    "~~~",
    "~~~~",
    "  ```",
    "    ```",
    "``` a`b",
    "> ```",
    "> quoted",
    "",
    "",
]


def heading_texts(text: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in headings(text, code_blocks(text))]


def oracle(text: str, kind: str) -> list[tuple[int, int]]:
    """Where a CommonMark parser finds elements of this kind, in bytes; fenced code blocks without the indented."""
    found = []
    events: Iterator[tuple[Any, Any]] = pyromark.events_with_range(text)
    for event, where in events:
        start = event.get("Start") if isinstance(event, dict) else None
        element = start if isinstance(start, dict) else event
        if isinstance(element, dict) and kind in element and element[kind] != "Indented":
            found.append((where["start"], where["end"]))
    return found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n```\nb\n```\nc", ["```\nb\n```"]),
        ("~~~\n```\n~~~\ntext", ["~~~\n```\n~~~"]),
        ("````\n```\n````\ntext", ["````\n```\n````"]),
        ("```\nb\n~~~\n```\ntext", ["```\nb\n~~~\n```"]),
        ("```\nb\n``` c\n```\ntext", ["```\nb\n``` c\n```"]),
        ("```\nb\n`````\ntext", ["```\nb\n`````"]),
        ("```in one line``` and text", []),
        ("- item\n\n  ```py\n  b\n  ```\ntext", ["  ```py\n  b\n  ```"]),
        ("1. ```py\n   b\n   ```\ntext", ["1. ```py\n   b\n   ```"]),
        ("<Step>\n        ```py\n        b\n        ```\ntext", ["        ```py\n        b\n        ```"]),
        (
            '```py\n"""\n    ```\n    b\n    ```\n"""\n```\ntext',
            ['```py\n"""\n    ```\n    b\n    ```\n"""\n```'],
        ),
        ("> ```\n> b\n> ```\ntext", ["> ```\n> b\n> ```"]),
        ("> ```\n> b\n\ntext\n\n```\nc\n```", ["> ```\n> b", "```\nc\n```"]),
        ("```\nnothing closes it", ["```\nnothing closes it"]),
        ("```", ["```"]),
        ("", []),
    ],
)
def test_a_code_block_goes_from_its_fence_to_the_one_that_closes_it(text: str, code: list[str]) -> None:
    assert [text[start:end] for start, end in code_blocks(text)] == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\n## B ##\n\n### C# ###", [(1, "A"), (2, "B"), (3, "C#")]),
        ("# Intro to C#", [(1, "Intro to C#")]),
        ("#no heading\n\n####### nor this", []),
        ("A\n===\n\nB\n---\n", [(1, "A"), (2, "B")]),
        ("a paragraph\nof two lines\n---\n", []),
        ("~~~\n# x\n~~~\n\n# y", [(1, "y")]),
        ("## Set up {#set-up}\n\n## More {.class #id}", [(2, "Set up"), (2, "More")]),
        ("# [Links](https://a.b) and `code` and **bold**", [(1, "Links and code and **bold")]),
        ("# my\\_name \\#1 &amp; more", [(1, "my_name #1 & more")]),
        ("# [![Build](a.svg)](https://a.b) Tool", [(1, "Build Tool")]),
        ("# A <sup><a href='b'>c</a></sup>", [(1, "A c")]),
    ],
)
def test_a_headings_words_are_its_text(text: str, expected: list[tuple[int, str]]) -> None:
    assert heading_texts(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a `b` c ``d ` e`` f", ["`b`", "``d ` e``"]),
        ("a ` b\n\nc ` d", []),
        ("a `b\nc` d", ["`b\nc`"]),
        ("a \\` b ` c", []),
        ("`a`\n\n```\n`b`\n```\n\n`c`", ["`a`", "```\n`b`\n```", "`c`"]),
        ("index[1] and `a[1]` and ```b[2]```", ["`a[1]`", "```b[2]```"]),
    ],
)
def test_code_spans_end_with_as_many_backticks_in_the_same_paragraph(text: str, code: list[str]) -> None:
    spans = code_spans(text)
    assert [text[start:end] for start, end in spans] == code


def test_prose_is_what_is_not_code() -> None:
    assert without_code("a `b` c\n\n~~~\nd\n~~~\n\ne").split() == ["a", "c", "e"]


@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))
def test_fences_and_headings_are_those_of_commonmark(text: str) -> None:
    """But where the module says that it differs: indented text, and what is inside of it."""
    if "\n    ```" in f"\n{text}":
        text = text.replace("    ```", "    code")
    code = code_blocks(text)
    assert [start for start, _ in oracle(text, "CodeBlock")] == [
        start + text[start:].index(text[start:].lstrip("> ")[0]) for start, _ in code
    ]
    if "===" not in text:
        assert [start for start, _ in oracle(text, "Heading")] == [
            start + text[start:].index("#") for start, *_ in headings(text, code)
        ]


@given(st.text(alphabet=st.sampled_from("ab `\\"), max_size=30))
def test_code_spans_are_those_of_commonmark(line: str) -> None:
    text = f"x{line}"
    assert [tuple(span) for span in code_spans(text)] == oracle(text, "Code")


@given(st.text(alphabet=st.sampled_from("ab \n`~>#=-*1.)\\[]()<>{"), max_size=200))
def test_what_is_found_is_in_order_and_inside_of_the_text(text: str) -> None:
    for spans in (code_blocks(text), code_spans(text)):
        offsets = [offset for span in spans for offset in span]
        assert offsets == sorted(offsets)
        assert all(0 <= offset <= len(text) for offset in offsets)
        assert all(start < end for start, end in spans)
    for heading in headings(text, code_blocks(text)):
        assert "\n" not in heading.text
    plain(text)


@pytest.mark.parametrize(
    "repeated",
    ["[", "> ", "- ", "`a``b", "```\n~~~\n", "> ```\n", "> ```\n\n", "``` a`\n", " ", "a\n---\n", "\n",
     "` \n \n", "# <a\n", "# " + "[" * 3000 + "\n", "`", "``` ", "# {#", "1. "],
)  # fmt: skip
def test_a_text_of_any_kind_takes_no_longer_than_its_length_asks_for(repeated: str) -> None:
    """`> ```` over and over took ten minutes at first."""
    text = (repeated * 200_000)[:200_000]
    began = time.process_time()
    list(headings(text, code_blocks(text)))
    code_spans(text)
    assert time.process_time() - began < 2.0
