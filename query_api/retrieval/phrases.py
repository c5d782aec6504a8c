"""Decides: what of a question is meant word for word. Pure; never raises.

Quotation marks mean a phrase: chunks that have its words next to each other, in this order and as they are written
but for case and punctuation, come first. They are no condition: where nothing has the phrase, its words are words
like all others. Names such as PREFECT_API_URL need no quotes (see schema/functions/names.sql).
"""

from __future__ import annotations

import re

from pgfolio.schema.search.question import Question

MAX_PHRASES = 8
MAX_PHRASE_CHARACTERS = 200
"""Characters of a phrase."""

_PHRASE = re.compile(
    r'"([^"]+)"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|»([^«»]+)«|「([^「」]+)」|『([^『』]+)』|《([^《》]+)》'
)
_VERSION = re.compile(r"\b[vV](?=\d)")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
"""As functions/folded.sql leaves out: a model takes each for the end of a word."""


def parse_question(text: str) -> Question:
    """The question with its phrases, the first few."""
    clean = _NO_WIDTH.sub("", _UNSTORABLE.sub(" ", text))
    quoted = (" ".join(next(filter(None, match.groups())).split()) for match in _PHRASE.finditer(clean))
    phrases = (
        phrase for phrase in quoted if len(phrase) <= MAX_PHRASE_CHARACTERS and any(map(str.isalnum, phrase))
    )
    return Question(clean, tuple(dict.fromkeys(phrases))[:MAX_PHRASES])


def is_number(text: str) -> bool:
    """Whether a question is numbers alone, such as 3.2.0, v3.2.0 or 10.0.0.7: models take all of them for alike."""
    rest = _VERSION.sub("", text)
    return any(map(str.isdigit, rest)) and not any(map(str.isalpha, rest))
