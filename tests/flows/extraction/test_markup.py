"""What is no text in HTML and Markdown, found in time that is linear in the text."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.flows.extraction import markup

HEAD = re.compile(
    r"<head\b.*?</head\s*>|<(script|style)\b.*?</\1\s*>|<title\b.*?</title\s*>|<meta\b[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
TITLE = re.compile(r"<title\b[^>]*>(.*?)</title\s*>", re.IGNORECASE | re.DOTALL)
DATA_IMAGE = re.compile(r"!\[[^\]]*\]\(data:[^)]*\)")
"""What the functions do, said so that it takes the square of the time."""

ENDS = ("</head>", "</HEAD >", "</script>", "</style>", "</title>")
TAGS = st.lists(
    st.sampled_from(
        (*ENDS, "<head", "<script", "<style>", "<title", "<meta", "<header>", ">", " ", "\n", "a")
    ),
    max_size=14,
).map("".join)
MARKS = st.lists(st.sampled_from(["![", "[", "]", "](data:", "(", ")", "a", "\n", "!"]), max_size=14).map(
    "".join
)


@given(TAGS)
def test_the_head_is_what_the_expression_says(text: str) -> None:
    assert markup.without_head(text) == HEAD.sub("", text)
    match = TITLE.search(text)
    assert markup.title(text) == (match[1] if match else "")


@given(MARKS)
def test_an_image_that_is_data_is_what_the_expression_says(text: str) -> None:
    assert markup.without_data_images(text) == DATA_IMAGE.sub("", text)


@pytest.mark.parametrize(
    "unit",
    ["<script>", "<head ", "<title>", "<title", "<meta ", "<style></script>", "![", "![](data:", "](data:"],
)
def test_what_is_opened_a_hundred_thousand_times_and_never_closed_takes_no_time(unit: str) -> None:
    text = unit * 100_000
    began = time.perf_counter()
    assert markup.without_head(text) == markup.without_data_images(text) == text
    markup.title(text)
    assert time.perf_counter() - began < 2
