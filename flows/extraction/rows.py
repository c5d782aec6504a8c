"""Rows of separated values (CSV, TSV) as a table, its first row as the header."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from typing import Final

from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

SEPARATORS: Final = ",;\t|"
SAMPLE_CHARACTERS: Final = 64 * 1024
_NAMED: Final = re.compile(r"sep=(.)\s*(?:\n|\Z)", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"[^"]*"')


def read(text: str, separator: str | None = None) -> Reading:
    """Of text with Unix line ends. A first line `sep=;` names the separator and is no row."""
    if named := _NAMED.match(text):
        text, separator = text[named.end() :], named[1]
    # A field may be as long as the file: the limit of the module is there for what is read in parts.
    csv.field_size_limit(sys.maxsize)
    out = Writer()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator or separator_of(text) or ",")
    out.sheet([cell.replace("\n", " ") for cell in row] for row in rows)
    return Reading(out.text())


def separator_of(text: str) -> str | None:
    """The sign that stands equally often in most of the first lines, outside quotes; None where none does."""
    lines = [line for line in _QUOTED.sub("", text[:SAMPLE_CHARACTERS]).split("\n")[:200] if line.strip()]
    best, agreement = None, 0.0
    for sign in SEPARATORS:
        counts = Counter(count for line in lines if (count := line.count(sign)))
        if not counts:
            continue
        usual, times = counts.most_common(1)[0]
        # More columns decide between signs on which as many lines agree: "1,5;2,5".
        score = times / len(lines) + min(usual, 20) / 1000 + (0.05 if lines[0].count(sign) == usual else 0)
        if score > agreement:
            best, agreement = sign, score
    return best
