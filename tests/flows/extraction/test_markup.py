"""Pictures that are written out in Markdown leave their alternative text, in time that is linear in the text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.flows.extraction.markup import without_data_images

PICTURE = "data:image/png;base64," + "iVBORw0KGgo+/9" * 20
WRAPPED = "data:image/png;base64,\n" + "\n".join(["iVBORw0KGgo+/9" * 5] * 4) + "\niVBORw0=="


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a ![plan]({PICTURE}) b", "a plan b"),
        (f"a ![floor [north] plan]({PICTURE}) b", "a floor [north] plan b"),
        (f"a [![stamp]({PICTURE})](https://example.org) b", "a [stamp](https://example.org) b"),
        (f"a ![plan]({WRAPPED}) b", "a plan b"),
        (f"a ![plan](<{PICTURE}>) b", "a plan b"),
        (f'a <img src="{PICTURE}"> b', 'a <img src=""> b'),
        (f"a {WRAPPED} is the picture", "a  is the picture"),
        ("![a](data:never closed", "![a](data:never closed"),
        ("the data: of 2024", "the data: of 2024"),
        ("a ![plan](plan.png) b", "a ![plan](plan.png) b"),
    ],
)
def test_a_picture_leaves_its_alternative_text(text: str, expected: str) -> None:
    assert without_data_images(text) == expected


MARKS = st.lists(st.sampled_from(["![", "[", "]", "](data:", "(", ")", "a", "\n", "!"]), max_size=14)


@given(MARKS.map("".join))
def test_whatever_is_open_or_closed_no_other_word_is_lost(text: str) -> None:
    kept = without_data_images(text)
    assert kept == text or "data:" in text
    assert len(kept) <= len(text)


@pytest.mark.parametrize(
    "unit", ["![", "![](data:", "](data:", "]](data:)", "data:a/b;base64,A ", "[[](data:x)"]
)
def test_what_is_opened_a_hundred_thousand_times_and_never_closed_takes_no_time(unit: str) -> None:
    began = time.perf_counter()
    without_data_images(unit * 100_000)
    assert time.perf_counter() - began < 2
