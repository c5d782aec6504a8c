"""Decides: what kind of answer a question expects, and what in it an answer must be about. Pure.

The expected answer type is question answering's oldest idea (Li and Roth 2002, "Learning question classifiers"): the
sentence that echoes "how many" has no number in it, the one beside it does. The words are English, with the question
words of some other languages; any other question expects no kind, and is answered by nearness alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

AnswerType = Literal[
    "number", "money", "measure", "date", "place", "person", "yes_no", "how_to", "definition", "list", "other"
]

_MONEY = (
    "cost|costs|pay|pays|paid|price|priced|spend|spent|earn|earns|earned|worth|revenue|revenues|sales|profit|profits",
    "income|loss|budget|dividend|dividends|dollars?|euros?|pounds?|money|raised?|fund|funds|funding|grants?|charged?",
    "debt|turnover|earnings|prices|costs|fees?|salary|salaries|expenses|expenditure|cash|fine",
)
_SIZES = (
    "percentage|percent|share|proportion|fraction|speed|temperature|weight|mass|length|height|depth|width|distance",
    "area|size|duration|rate|frequency|wavelength|voltage|power|energy|timeout|interval|population|age|density",
    "radius|diameter|capacity|efficiency|accuracy|margin|growth|limit",
)
_CODE = (
    "command|option|flag|setting|function|method|class|decorator|parameter|argument|variable|environment variable",
    "module|package|keyword|exception|attribute|library|tool|call|syntax|import|endpoint",
)
_PLACES = (
    "city|town|country|place|location|continent|state|region|island|street|address|building|site|directory|folder",
    "file|path|university|headquarters",
)
_PERSONS = (
    "person|man|woman|author|director|chair\\w*|ceo|president|founder|inventor|scientist|engineer|physicist",
    "mathematician|king|queen|emperor|company|organi[sz]ation|team",
)
_KINDS = "kinds|types|sorts|options|ways|steps|reasons|parts|members|languages|formats|states|values"
_VERBS = (
    "is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must|isn't|aren't|doesn't|don't|didn't",
    "can't",
)


def _any(*alternatives: str) -> str:
    return f"(?:{'|'.join(alternatives)})"


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_TYPES: Final[dict[AnswerType, re.Pattern[str]]] = {
    "money": _pattern(
        rf"\bhow (?:much|many)\b.*\b{_any(*_MONEY)}\b",
        rf"\bwhat\b.*\b{_any(*_MONEY)}\b",
        r"\bwie ?viel kostet|\bcombien (?:co\u00fbte|vaut)|\bcu\u00e1nto cuesta",
        r"\u0441\u043a\u043e\u043b\u044c\u043a\u043e \u0441\u0442\u043e\u0438\u0442",
    ),
    "measure": _pattern(
        r"\bhow (?:long|far|fast|tall|high|deep|wide|old|heavy|hot|cold|big|large|small|soon)\b(?!\s+as\b)",
        r"\bhow (?:often|frequently|much|quickly|loud|thick|strong|hard)\b",
        r"\bat what (?:rate|speed|temperature|interval|age|height|depth|distance)\b",
        rf"\bwhat (?:\w+ ){{0,2}}{_any(*_SIZES)}\b",
    ),
    "number": _pattern(
        r"\bhow many\b",
        r"\b(?:what|which) (?:\w+ ){0,3}(?:number|count|total|amount|quantity|default|port|headcount|code)\b",
        r"\b(?:what|which) (?:\w+ ){0,3}(?:maximum|minimum)\b",
        r"\bwie ?viele?\b|\bcombien\b|\bcu\u00e1nt[oa]s\b|\bquant[ie]\b|\bquant[oa]s\b",
        r"\u0441\u043a\u043e\u043b\u044c\u043a\u043e",
    ),
    "date": _pattern(
        r"\bwhen\b|\bhow long ago\b|\bsince which\b",
        r"\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|quarter|version|release)\b",
        r"\bwann\b|\bquand\b|\bcu\u00e1ndo\b|\bquando\b|\u043a\u043e\u0433\u0434\u0430",
    ),
    "place": _pattern(
        r"\bwhere\b",
        rf"\b(?:what|which) (?:\w+ )?{_any(*_PLACES)}\b",
        r"\bwo\b|\bo\u00f9\b|\bd\u00f3nde\b|\bdove\b|\u0433\u0434\u0435",
    ),
    "person": _pattern(
        r"\bwho(?:se|m)?\b|\bwhat (?:is|was) the name of\b",
        rf"\b(?:what|which) (?:\w+ )?{_any(*_PERSONS)}\b",
        r"\bwe[rmn]\b|\bqui\b|\bqui\u00e9n\b|\bchi\b|\u043a\u0442\u043e",
    ),
    "how_to": _pattern(
        r"\bhow (?:do|does|can|could|should|would|to|might|must|is|are)\b",
        rf"\b(?:what|which) (?:\w+ )?{_any(*_CODE)}\b",
        r"^wie\b|^comment\b|^c\u00f3mo\b|^come\b|^\u043a\u0430\u043a\b",
    ),
    "list": _pattern(
        r"\b(?:what|which) are (?:the|all|some)\b|\blist\b|\bname (?:the|all|three|four|five|some)\b",
        rf"\bwhat (?:{_KINDS})\b|\bwhich (?:{_KINDS}|\w+s) (?:are|do|does|can|have)\b",
    ),
    "definition": _pattern(
        r"^(?:so )?what(?:'s| is| are| was| were) (?:an? |the )?(?:meaning of )?[\w\-./'\" ]{1,60}\??$",
        r"\bwhat (?:does|do|did) .+ (?:mean|stand for|do|refer to)\b|\bwhat is meant by\b",
        r"\bdefine\b|\bexplain\b|\bmeaning of\b",
        r"^was (?:ist|sind)\b|^qu'est-ce\b|^qu\u00e9 es\b|^che cos",
        r"^\u0447\u0442\u043e \u0442\u0430\u043a\u043e\u0435",
    ),
}
"""The first that matches."""

_YES_NO: Final = _pattern(rf"^(?:and |but |so )?{_any(*_VERBS)}\b")
"""What begins so is one, whatever else is in it, unless it offers a choice."""

_SUBJECT: Final = re.compile(
    r"(?:so )?(?:what(?:'s| is| are| was| were)(?: meant by)?|define|explain|who (?:is|was)) (?:an? |the )?"
    r"[`\"']?([^?`\"']{2,60})[`\"']?\??$"
    r"|what do(?:es)? (?:an? |the )?(.{2,60}?) (?:mean|stand for|do)\b",
    re.IGNORECASE,
)
_YEAR: Final = re.compile(r"(?<![\w.])(?<![A-Za-z]-)(?:FY\s?)?((?:1[0-9]|20)\d\d)(?![\w%]|\.\d)")
_VERSION: Final = re.compile(r"(?<![\w.])v?\d+(?:\.\d+){1,3}(?![\w.]*\w)")
_IDENTIFIER: Final = re.compile(
    r"`([^`\n]+)`"
    r"|(?<!\w)(--?[A-Za-z][\w-]*|\w+(?:_\w+)+|\w+(?:\.\w+)+(?:\(\))?|\w*[a-z][A-Z]\w*|[A-Za-z]+-?\d+\w*)"
)
_CODE_NAME: Final = re.compile(r"[^\W\d].*[_\d]|[_\d].*[^\W\d]")
"""Letters with digits or an underscore."""

_QUOTED: Final = re.compile(r"[\"\u201c\u00ab]([^\"\u201d\u00bb\n]{2,80})[\"\u201d\u00bb]")
_CAPITALISED: Final = re.compile(r"(?<![\w.])([A-Z][\w\u00c0-\u024f'\u2019-]*[\w\u00c0-\u024f])(?!\w)")
_SENTENCE_BEGIN: Final = re.compile(r"(?:^|[.?!]\s+)\W*$")
_NOT_NAMES: Final = re.compile("I|I'm|I've|OK|What|Who|When|Where|Which|Why|How|Mr|Mrs|Dr")


@dataclass(frozen=True, slots=True)
class Expected:
    """What of the question an answer must be about: `years`, `versions`, `codes`, such as err-1042 or wait_fixed, and
    `names`, these too, in small letters. `subject`: what is to be defined."""

    type: AnswerType
    years: frozenset[str]
    versions: frozenset[str]
    codes: tuple[str, ...]
    names: tuple[str, ...]
    subject: str = ""


def expected_answer(question: str) -> Expected:
    text = question.strip()
    names = dict.fromkeys(_names(text))
    return Expected(
        type=_type(text),
        years=frozenset(_YEAR.findall(text)),
        versions=frozenset(each.lstrip("v") for each in _VERSION.findall(text)),
        codes=tuple(name for name in names if _CODE_NAME.search(name) and " " not in name),
        names=tuple(names),
        subject=(match[1] or match[2]).strip() if (match := _SUBJECT.match(text)) else "",
    )


def years_in(text: str) -> frozenset[str]:
    return frozenset(_YEAR.findall(text))


def versions_in(text: str) -> frozenset[str]:
    return frozenset(each.lstrip("v") for each in _VERSION.findall(text))


def _type(question: str) -> AnswerType:
    if _YES_NO.search(question) and not re.search(r"\bor\b", question):
        return "yes_no"
    return next((name for name, pattern in _TYPES.items() if pattern.search(question)), "other")


def _names(question: str) -> list[str]:
    """Identifiers, what is quoted, and words with a capital that does not come from the beginning of a sentence."""
    names = [(match[1] or match[2]) for match in _IDENTIFIER.finditer(question)]
    names += _QUOTED.findall(question)
    for match in _CAPITALISED.finditer(question):
        begins = _SENTENCE_BEGIN.search(question[: match.start()])
        if not _NOT_NAMES.fullmatch(match[1]) and not begins:
            names.append(match[1].removesuffix("'s").removesuffix("\u2019s"))
    return [name.casefold() for name in names if not _YEAR.fullmatch(name)]
