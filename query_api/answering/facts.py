"""Decides: whether a passage holds a fact of the kind that a question expects. Pure; linear in the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgfolio.query_api.answering.expected import AnswerType
    from pgfolio.query_api.answering.sentences import Shape


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


_NUMBER = r"(?<![\w.])[-+\u2212]?\d+(?:[.,\u00a0\u202f' ]\d{3})*(?:[.,]\d+)?"
_NUMBER_WORDS = _any(
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen",
    "seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million",
    "billion|dozens?|twice|once|half|third|quarter|single|pair|couple|none|no|unlimited|infinite",
)
_MONTHS = _any(
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?",
    "oct(?:ober)?|nov(?:ember)?|dec(?:ember)?",
)
_UNITS = _any(
    r"%|\u00b0\s?[CFK]?|percent|per cent|points?",
    r"(?:milli|micro|nano|kilo|mega|giga|tera|centi)?(?:seconds?|met(?:er|re)s?|grams?|watts?|volts?|amperes?|hertz)",
    r"(?:kilo|mega|giga|tera)?(?:bytes?|bits?|lit(?:er|re)s?|joules?|watt[- ]hours?)",
    r"ms|secs?|s|mins?|minutes?|hours?|hrs?|h|days?|weeks?|months?|years?|centur(?:y|ies)|decades?",
    r"km/h|mph|km|cm|mm|nm|m|miles?|feet|foot|ft|inch(?:es)?|yards?|acres?|hectares?|ha|km\u00b2|m\u00b2|sq(?:uare)?",
    r"kg|g|mg|t|tons?|tonnes?|lbs?|pounds?|ounces?|[kMGT]?i?B|[kMG]bps|[kMGT]?Hz|[kMGT]?Wh?|[kM]?V|mA|A|[kM]?J|K|Pa|bar",
    r"people|inhabitants|times|pages|rows|characters|tokens|lines|requests?|retries|workers|employees",
)
_CURRENCIES = _any(
    "dollars?|euros?|pounds?|francs?|yen|rupees?|crowns?|kron(?:a|or|er)|cents?|thousand|million|billion|m|bn|k",
    "usd|eur|gbp|chf|jpy|sek|nok|dkk",
)
_CODES = "usd|eur|gbp|chf|jpy|sek|nok|dkk"
_CAPITAL = r"[A-Z\u00c0-\u00de]"
_NAME = rf"{_CAPITAL}[\w'\u2019.-]+"
_TITLES = "Dr|Mrs?|Ms|Prof|Sir|Lady|Lord|King|Queen|Professor|President|Captain|Saint|St"
_PARTICLES = "van|von|de|der|den|da|di|la|le|bin|al|of|the"
_DOING = _any(
    "use|run|set|call|add|pass|create|click|select|open|install|type|enter|configure|define|specify|choose|press",
    "go|write|make|import|start|put|provide|ensure|enable|disable|remove|delete",
)


def _pattern(*alternatives: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), flags)


_FACTS: Final[dict[AnswerType, re.Pattern[str]]] = {
    "number": _pattern(rf"{_NUMBER}(?!\w)", rf"\b(?:{_NUMBER_WORDS})\b"),
    "money": _pattern(
        r"[$\u20ac\u00a3\u00a5\u20b9]\s?\d",
        rf"{_NUMBER}\s?(?:(?:{_CURRENCIES})\b|[$\u20ac\u00a3])",
        rf"\b(?:{_CODES})\s?\d",
        r"\b(?:free of charge|for free|no charge)\b",
    ),
    "measure": _pattern(
        rf"{_NUMBER}[\s-]?(?:{_UNITS})(?!\w)",
        rf"\b(?:{_NUMBER_WORDS})[\s-](?:{_UNITS})\b",
        r"\b(?:every|each|per|hourly|daily|weekly|monthly|yearly|annually|forever|indefinitely)\b",
    ),
    "date": _pattern(
        r"(?<![\w.])(?:1\d|20)\d\d(?!\w)",
        rf"\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTHS})\b",
        rf"\b(?:{_MONTHS})\b",
        r"\d{1,2}[./]\d{1,2}[./]\d{2,4}|(?<![\w.])v?\d+\.\d+(?:\.\d+)*(?!\w)",
        r"\b\d{1,2}(?:st|nd|rd|th) century\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b",
        r"\b\d{1,2}(?::\d\d)? ?[ap]\.?m\b|\b\d{1,2}:\d\d\b",
    ),
    "place": _pattern(
        rf"\b(?i:in|at|near|from|to|on|of|into|under|around|outside) (?:the )?{_CAPITAL}\w+",
        r"(?<!\w)[\w.~]*/[\w.~/-]+|\b\w+\.(?:toml|ya?ml|json|cfg|ini|py|txt|md|conf|env|db|log)\b",
        r"\b[A-Z]\w+, [A-Z]\w+|`[^`]+`",
        r"\b(?:page|tab|menu|directory|folder|file|button|sidebar|section|database|memory|disk)\b",
        flags=0,
    ),
    "person": _pattern(
        rf"(?<!\w)(?:(?:{_TITLES})\.? )?{_NAME}(?: (?:[A-Z]\.|{_PARTICLES}))?(?: {_NAME})+",
        r"\b[\w.]+@[\w.]+\b",
        flags=0,
    ),
    "how_to": _pattern(
        r"`[^`]+`|(?<!\w)--?[A-Za-z][\w-]*|\b\w+\([^)\n]*\)|\b\w+_\w+\b|\b\w+\.\w+\(",
        r"^\s*(?:\$|>>>|pip |from |import |@)",
        rf"^\W*(?:{_DOING})\b",
        r"\b(?:you can|by \w+ing|you must|you need to|you should)\b",
        flags=re.IGNORECASE | re.MULTILINE,
    ),
    "definition": _pattern(
        r"\b(?:is|are|was|were) (?:an?|the|one of|any|used|called|defined|what|how|when|where|simply|usually)\b",
        r"\bmeans?\b|\brefers? to\b|\bdefined as\b|\bstands? for\b|\bknown as\b|\bconsists? of\b",
        r"^\W*[\w `*-]{1,50}(?::| [\u2013\u2014-] )|\b(?:allows?|represents?|describes?|provides?|lets)\b",
    ),
    "list": _pattern(r"[,;] .{1,60}(?:,| and | or )|:\s*$|\band\b"),
}
"""Of "yes_no" and "other" anything may be an answer."""

_WORDS: Final = re.compile(r"\w+")
_GROUPED: Final = re.compile(r"(?<=\d)[,\u00a0\u202f' ](?=\d{3}(?!\d))")


def holds(kind: AnswerType, text: str, question: str, shape: Shape = "sentence") -> bool:
    """Whether the text has a fact of the kind that the question itself does not have: what is in the question is no
    answer to it. The units of a table's row stand in its head, and each line of code is one way to do something."""
    if shape == "row" and kind in {"money", "measure"}:
        kind = "number"
    if shape == "line" and kind == "how_to":
        return True
    return kind not in _FACTS or bool(facts_in(kind, text, question))


def facts_in(kind: AnswerType, text: str, question: str) -> frozenset[str]:
    """Those of a kind, in small letters, numbers without what groups their digits; none of a kind that has no
    pattern."""
    pattern = _FACTS.get(kind)
    question_words = frozenset(_WORDS.findall(question.casefold()))
    facts = (match.group().casefold() for match in pattern.finditer(text)) if pattern else ()
    return frozenset(
        _GROUPED.sub("", fact) for fact in facts if not question_words.issuperset(_WORDS.findall(fact))
    )


def defines(text: str, subject: str) -> bool:
    """Whether a text says what a thing is, as "A worker is a", "**worker**: a" or "workers are" do."""
    stem = re.escape(subject.casefold().removesuffix("s"))
    named = rf"(?:^|[.\n])\W*(?:an? |the )?[`*_\"']*{stem}s?[`*_\"']*(?: \([^)\n]{{1,60}}\))?"
    says = r"(?:,[^,.\n]{1,80},)? (?:is|are|was|were|means?|refers?|stands?|describes?|represents?) "
    return re.search(rf"{named}(?:{says}|(?::| [\u2013\u2014-]) )", text.casefold()) is not None
