"""Progress where nobody sits at a terminal: a line now and then, for a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgfolio.flows.cli.progress import Display

if TYPE_CHECKING:
    import pytest


def test_lines_tell_stage_count_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(line_seconds=0.05) as display:
        display.stage("looking at [docs]")
        time.sleep(0.12)
        display.begin(800)
        display.advance(120, 3400)
        time.sleep(0.12)
        display.stage("building the index")
        display.built(0.4)
        time.sleep(0.12)
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 8
    assert lines[0] == "looking at [docs]: a second"
    stored = next(line for line in lines if "800" in line)
    assert stored.startswith("embedding and storing: 120 of 800, 3,400 chunks, ")
    assert lines[-1] == "building the index: 40 of 100, % of the vectors, a second"


def test_a_short_run_writes_none(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        display.begin(8)
    assert capsys.readouterr().err == ""


def test_a_run_that_answers_json_writes_none(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(visible=False, line_seconds=0.01) as display:
        display.begin(8)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
