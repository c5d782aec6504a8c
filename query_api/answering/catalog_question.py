"""Decides: whether a question is about the documents themselves, which of them there are, and not about what they
say. Pure. English, with the commonest forms of some other languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Order = Literal["listed", "counted", "latest", "oldest"]

_ANY_DOCUMENT = "documents?|files?|docs?|sources"
_OF_A_KIND = (
    "reports?|papers?|articles?|manuals?|guides?|presentations?|slides|spreadsheets?|workbooks?|pdfs?|notes?|minutes|memos?"
    "|contracts?|invoices?|polic(?:y|ies)|release notes|newsletters?|transcripts?|tutorials?|handbooks?|notebooks?"
)
_NOUN = rf"(?P<noun>(?:[\w-]+ )?(?:{_ANY_DOCUMENT}|{_OF_A_KIND}))"
_STORE = "corpus|collection|index|library|archive|knowledge ?base|database"
_HERE = rf"(?:here|in (?:here|there|(?:the|this|your|our) (?:{_STORE})))"
_THERE_ARE = (
    r"(?:(?:do|did) you (?:have|hold|know|keep|cover)|have you got|can you (?:see|search|read)|are there|is there"
    rf"|exists?|(?:are|were) (?:available|indexed|stored|searchable|known|synced|{_HERE}))"
    rf"(?: {_HERE})?"
)
_ABOUT = r"(?: (?:about|on|regarding|concerning|covering|mentioning|that (?:mention|cover)s?) (?P<topic>.+))?"
_OF = r"(?: (?:about|on|of|for|from|by|regarding|concerning|covering) (?P<topic>.+))?"
_CORPUS = rf"(?:(?:this|the|your) (?:{_STORE})|these documents)"
_SHOW = (
    r"(?:(?:please )?(?:what(?:'s|\u2019s| is| are)|which (?:is|are)|show(?: me)?|find(?: me)?|give me|get(?: me)?"
    r"|open|do you have) )?"
)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?:so |and |please |hi,? |hello,? )*{text}\s*[?.!]*", re.IGNORECASE)


_HAS = rf"(?: {_THERE_ARE}| you have| there (?:is|are))?"
_LIST = r"(?:list|show(?: me)?|name|give me a list of) (?:me )?(?:all )?(?:of )?(?:the |your |available )*"
_WHAT = r"(?:do you (?:have|know|cover)|can i (?:ask|search)(?: you)?|topics (?:do you cover|are covered))"
_GERMAN = r"(?P<noun>dokumente|dateien|berichte|unterlagen)"
_GERMAN_ABOUT = r"(?: (?:\u00fcber|zu) (?P<topic>.+))?"

_FORMS: Final[tuple[tuple[Order, re.Pattern[str]], ...]] = (
    ("counted", _pattern(rf"how many {_NOUN} {_THERE_ARE}{_ABOUT}")),
    ("counted", _pattern(rf"wie viele {_GERMAN} (?:hast du|habt ihr|gibt es){_GERMAN_ABOUT}")),
    ("listed", _pattern(rf"(?:what|which) {_NOUN} {_THERE_ARE}{_ABOUT}")),
    ("listed", _pattern(rf"(?:do you have|have you got|are there) (?:any |some |a )?{_NOUN}{_ABOUT}")),
    ("listed", _pattern(rf"{_LIST}{_NOUN}{_HAS}{_ABOUT}")),
    ("listed", _pattern(rf"what {_WHAT}(?: about)?")),
    ("listed", _pattern(rf"what(?:'s|\u2019s| is| are) (?:there )?in {_CORPUS}(?: about)?")),
    (
        "listed",
        _pattern(rf"welche {_GERMAN} (?:hast du|habt ihr|gibt es|sind (?:da|vorhanden)){_GERMAN_ABOUT}"),
    ),
    (
        "listed",
        _pattern(
            r"quels (?P<noun>documents|fichiers|rapports) (?:as-tu|avez-vous|y a-t-il|existent)"
            r"(?: sur (?P<topic>.+))?"
        ),
    ),
    (
        "listed",
        _pattern(
            r"\u00bf?qu\u00e9 (?P<noun>documentos|archivos|informes) (?:tienes|ten\u00e9is|hay)"
            r"(?: sobre (?P<topic>.+))?"
        ),
    ),
    ("latest", _pattern(rf"{_SHOW}(?:the |your |our )?(?:latest|newest|most recent) {_NOUN}{_HAS}{_OF}")),
    ("oldest", _pattern(rf"{_SHOW}(?:the |your |our )?(?:oldest|earliest) {_NOUN}{_HAS}{_OF}")),
)

_GENERIC: Final = re.compile(
    rf"(?:{_ANY_DOCUMENT}|dokumente|dateien|unterlagen|documents|fichiers|documentos|archivos)", re.IGNORECASE
)
_ARTICLE: Final = re.compile(r"(?:the|a|an|any|our|your) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CatalogQuestion:
    """`topic`: what the documents are to be about; `kind`: what they are, as "report"; empty: any."""

    order: Order
    topic: str = ""
    kind: str = ""


def catalog_question(question: str) -> CatalogQuestion | None:
    """None: a question about what documents say, which most are."""
    text = " ".join(question.split())
    for order, pattern in _FORMS:
        if match := pattern.fullmatch(text):
            parts = match.groupdict()
            topic = _ARTICLE.sub("", (parts.get("topic") or "").strip(" ?.!\"'"), count=1)
            return CatalogQuestion(order, topic, _kind((parts.get("noun") or "").strip().casefold()))
    return None


def _kind(noun: str) -> str:
    """In the singular: of "annual reports" it is "annual report"."""
    if not noun or _GENERIC.fullmatch(noun):
        return ""
    singular = re.sub(r"ies$", "y", noun) if noun.endswith("ies") else noun.removesuffix("s")
    return " ".join(word for word in singular.split() if not _GENERIC.fullmatch(word))
