"""The estimate of tokens: near enough to the tokenizer, and the same wherever a text stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.config.models.wordllama import BundledTokenizer
from pgfolio.flows.chunking.token_estimate import TOKEN, running_total

PROSE = "The sync of a folder reads every file once, and keeps what it knows of them in a ledger.\n\n" * 20
PYTHON = Path(__file__).read_text()
RUSSIAN = "Синхронизация папки читает каждый файл один раз и хранит то, что знает, в журнале. " * 20
CHINESE = "文件夹的同步会读取每个文件一次\uff0c并将其所知道的内容保存在一个账本中。" * 20


@pytest.mark.parametrize("text", [PROSE, PYTHON, RUSSIAN, CHINESE], ids=["prose", "code", "ru", "zh"])
def test_it_is_near_to_what_the_tokenizer_counts(text: str) -> None:
    assert running_total(text)[-1] / TOKEN == pytest.approx(BundledTokenizer().count([text])[0], rel=0.2)


@given(st.text(), st.text(max_size=20))
def test_a_part_costs_the_same_wherever_it_stands(text: str, before: str) -> None:
    alone, behind = running_total(f"x{text}"), running_total(f"{before}x{text}")
    assert alone[-1] - alone[1] == behind[-1] - behind[len(before) + 1]


@given(st.text(st.characters(codec="ascii")))
def test_plain_letters_cost_the_same_beside_others(text: str) -> None:
    assert running_total(text)[-1] == running_total(f"{text}é")[len(text)]


def test_every_letter_has_its_place_and_costs_something() -> None:
    totals = running_total("a\ud800🎉\n")
    assert len(totals) == 5
    assert list(totals) == sorted(set(totals))
