# ruff: noqa: RUF001 -- letters of other widths
"""What an independent reading has, and our text lacks, is told; what stands elsewhere, or is parted, is not."""

from __future__ import annotations

import time

import pytest

from pgfolio.flows.extraction.completeness import MIN_SHARE, share_arrived, shortfall

TEXT = "The harbour of Brindle has two cranes. Crane A lifts 18 tonnes, crane B lifts 27 tonnes."


@pytest.mark.parametrize(
    ("independent", "text"),
    [
        (TEXT, TEXT),
        (TEXT, " ".join(reversed(TEXT.split()))),
        (TEXT, TEXT.upper()),
        ("The inter- national ferry to the is land", "The international ferry to the island"),
        ("The international ferry", "The inter national ferry, inter and national, international ferry"),
        ("Invoice\tno.:\t4711", "| Invoice no.: | 4711 |\n|---|---|\n"),
        ("ﬁnal oﬃce ２０２４", "final office 2024"),
        ("", TEXT),
        ("--- ...", TEXT),
    ],
)
def test_what_arrived_is_not_missed(independent: str, text: str) -> None:
    assert shortfall(independent, text) == ""


@pytest.mark.parametrize(
    ("lost", "percent"), [("Crane A lifts 18 tonnes,", 19), ("harbour of Brindle", 23), (TEXT, 100)]
)
def test_what_is_lost_is_told_with_its_share(lost: str, percent: int) -> None:
    said = shortfall(TEXT, TEXT.replace(lost, ""))
    assert said == f"about {percent}% of its letters could not be read"


def test_a_word_that_stands_too_seldom_is_lost() -> None:
    share = share_arrived("tide " * 100, "tide " * 60)
    assert share == pytest.approx(0.6)
    assert share_arrived("tide " * 100, "tide " * 99) > MIN_SHARE  # type: ignore[operator]


def test_comparing_takes_time_in_proportion() -> None:
    words = " ".join(f"word{n}" for n in range(200_000))
    began = time.perf_counter()
    assert share_arrived(words, words[: len(words) // 2]) == pytest.approx(0.5, abs=0.02)
    assert time.perf_counter() - began < 5
    assert share_arrived("a" * 9_000_000, "b") is None
