"""Separated values, notebooks and books."""

from __future__ import annotations

import json

import pytest

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import archive


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("sep=;\na;b\n1,5;2\n", "| a | b |\n| --- | --- |\n| 1,5 | 2 |"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", "| a | b |\n| --- | --- |\n| 1,5 | 2,5 |\n| 3,5 | 4,5 |"),
        ('a,b\n"x, y","two\nlines"\n', "| a | b |\n| --- | --- |\n| x, y | two lines |"),
        ('a,b\n27" wide,2\n', '| a | b |\n| --- | --- |\n| 27" wide | 2 |'),
        ("one column\nof words\n", "| one column |\n| --- |\n| of words |"),
        ("a|b\n1|2\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("a,b\n" + "x" * 200_000 + ",2\n", "| a | b |\n| --- | --- |\n| " + "x" * 200_000 + " | 2 |"),
    ],
)
def test_rows_become_a_table(text: str, table: str) -> None:
    assert extract("a.csv", text.encode()).text == table + "\n"


def notebook(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        notebook(
            nbformat=3,
            worksheets=[
                {
                    "cells": [
                        {"cell_type": "heading", "level": 2, "source": ["Study"]},
                        {
                            "cell_type": "code",
                            "input": ["total = 1"],
                            "prompt_number": 1,
                            "outputs": [{"text": ["7"]}],
                        },
                    ]
                }
            ],
        ),
        notebook(
            nbformat=4,
            cells=[
                {"cell_type": "markdown", "source": "## Study"},
                {
                    "cell_type": "code",
                    "source": "total = 1",
                    "outputs": [{"data": {"text/plain": ["7"], "image/png": "iVBO"}}],
                },
            ],
        ),
    ],
)
def test_a_notebook_has_its_cells_and_what_they_printed(data: bytes) -> None:
    assert extract("a.ipynb", data).text == "## Study\n\n```python\ntotal = 1\n```\n\n```\n7\n```\n"


def test_a_book_is_read_in_the_order_of_its_spine() -> None:
    dc = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
    package = (
        f"<package {dc}><metadata><dc:title>Tides</dc:title><dc:creator>Ann</dc:creator></metadata><manifest>"
        '<item id="a" href="one%20a.xhtml"/><item id="b" href="two.xhtml"/></manifest>'
        '<spine><itemref idref="b"/><itemref idref="a"/></spine></package>'
    )
    data = archive(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/p.opf"/></rootfiles></container>',
            "O/p.opf": package,
            "O/one a.xhtml": "<html><body><p>Second R&amp;D</p></body></html>",
            "O/two.xhtml": '<?xml version="1.0"?><html><head><title/></head><body><h1>First</h1></body></html>',
        }
    )
    extracted = extract("a.epub", data)
    assert (extracted.title, extracted.owner, extracted.text) == ("Tides", "Ann", "# First\n\nSecond R&D\n")
