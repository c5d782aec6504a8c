"""What is printed for people: no document writes to the terminal anything but text."""

from __future__ import annotations

import io
import unicodedata

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from pgfolio.config.terminal import Terminal, printable
from pgfolio.flows.cli import progress
from pgfolio.flows.cli.options import Interval
from pgfolio.flows.cli.progress import Display

ERASE = "a\x1b[2Jb"
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printed(thing: object) -> str:
    file = io.StringIO()
    Terminal(file=file, width=60).print(thing)
    return file.getvalue()


def table(cell: str | Text) -> Table:
    made = Table("one", "two")
    made.add_row(cell, "beside")
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, ünïcode, 漢字, 🍞", "plain text, ünïcode, 漢字, 🍞"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("lines\r\nof Windows", "lines\r\nof Windows"),
        ("over\rwritten", "over\ufffdwritten"),
        ("\x1b]0;pwned\x07", "\ufffd]0;pwned\ufffd"),
        ("\x9d52;c;cHduZWQ=\x9c", "\ufffd52;c;cHduZWQ=\ufffd"),
        ("\x00\x08\x0b\x0c\x7f\x85", "\ufffd" * 6),
        (BIDI, "\ufffd" * len(BIDI)),
    ],
)
def test_control_characters_are_replaced(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text())
def test_every_control_character_is_replaced_and_nothing_else(text: str) -> None:
    def kept(character: str) -> bool:
        return character in "\n\t" or (unicodedata.category(character) != "Cc" and character not in BIDI)

    expected = ["".join(c if kept(c) else "\ufffd" for c in line) for line in text.split("\r\n")]
    assert printable(text) == "\r\n".join(expected)


@pytest.mark.parametrize(
    "made",
    [
        str,
        Text,
        table,
        lambda text: table(Text(text)),
        lambda text: Padding(text, 1),
        lambda text: Segments([Segment(text)]),
    ],
)
def test_nothing_that_is_printed_controls_the_terminal(made: type) -> None:
    out = printed(made("a\x1b]0;pwned\x07\x9b2J\u202eb"))
    assert "a\ufffd]0;pwned" in out
    assert [c for c in out if (unicodedata.category(c) == "Cc" and c != "\n") or c in BIDI] == []


def test_replaced_characters_do_not_shift_the_columns() -> None:
    widths = {len(line) for line in printed(table("\x1b" * 9)).splitlines()}
    assert len(widths) == 1


def test_the_terminals_own_styles_are_kept() -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, color_system="standard")
    terminal.print(f"[red]{escape(ERASE)}[/]")
    assert file.getvalue() == "\x1b[31ma\ufffd[2Jb\x1b[0m\n"


def test_names_are_shown_as_they_are() -> None:
    assert printed(escape(":cat:.md [bold]")) == ":cat:.md [bold]\n"


@pytest.mark.parametrize("name", ["a[/b]", "[red]a", ":cat:"])
def test_a_stage_shows_any_sources_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    file = io.StringIO()
    monkeypatch.setattr(progress, "ERR", Terminal(file=file, force_terminal=True, width=100))
    with Display() as display:
        display.stage(f"looking at {name}")
    assert f"looking at {name}" in file.getvalue()


@pytest.mark.parametrize("text", ["", "5 m", "-1m", "1w", "9" * 5000])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no interval"):
        Interval().convert(text, None, None)
