"""Decides: what a question means after what was said before it. Pure; without a chat model.

A follow-up is the last question with something in it changed: a year, a name, an item of the answer, or what "it" is.
It is told by how it begins and by what it lacks, in English; what stands by itself is left as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FOLLOW_UP_WORDS: Final = 12
"""A longer question stands by itself, whatever pronouns it has."""

MAX_MESSAGES: Final = 6
MAX_MESSAGE_CHARACTERS: Final = 1000
"""Of a conversation that a prompt tells of, and of one message in it."""

_YEAR: Final = re.compile(r"(?<![\w.-])(?:1[0-9]|20)\d\d(?!\w)")
_AGREEING: Final = re.compile(
    r"(?:yes|yeah|yep|ok|okay|sure|please|go on|continue|more|tell me more|and\?|why\?)(?:,? please)?[.!?]*",
    re.IGNORECASE,
)
_CHANGED: Final = re.compile(
    r"(?:and |but |or )?(?:what|how) about (?P<about>.+?)\??"
    r"|(?:and|but|or) (?P<also>.+?)\??"
    r"|(?P<only>(?:in|for|of|with|at|on|by|from|to) (?:\S+ ){0,2}\S+?)\??",
    re.IGNORECASE,
)
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")
_ORDINAL: Final = re.compile(
    rf"\b(?:the )?(?P<place>{'|'.join(_ORDINALS)}|last|latter|former)(?: one| option| item)?\b", re.IGNORECASE
)
_PRONOUN: Final = re.compile(
    r"\b(?:it|its|they|them|their|this|that|these|those|he|him|his|she|her|there|then|one)\b", re.IGNORECASE
)
_NAME: Final = re.compile(
    r"(?<!^)(?<![.?!] )\b(?!I\b)[A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)*|`[^`]+`|\b\w+_\w+\b"
)
_ASKING: Final = re.compile(
    r"(?:what|who|where|when|why|which|how)\b"
    r"(?: (?:is|are|was|were|do|does|did|can|could|should|to|many|much|long|i|you|we|the|an?)\b)*\s*",
    re.IGNORECASE,
)
_ITEM: Final = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+(.+)$", re.MULTILINE)
_MARKER: Final = re.compile(r"\s*\[\d+\]")
_PREPOSITION: Final = re.compile(r"(?:in|for|of|with|at|on|by|from|to)\s+", re.IGNORECASE)


class Message(Struct, frozen=True):
    """Of a conversation; the content is plain text."""

    role: Literal["user", "assistant", "system"]
    content: str


def last_exchange(earlier: Sequence[Message]) -> tuple[str, str]:
    """The last question before this one, and its answer; "" where there is none."""
    questions = [place for place, message in enumerate(earlier) if message.role == "user"]
    if not questions:
        return "", ""
    answers = [message.content for message in earlier[questions[-1] :] if message.role == "assistant"]
    return earlier[questions[-1]].content, answers[-1] if answers else ""


def understood_before(earlier: Sequence[Message]) -> str:
    """The last question before this one, as it was understood after those before it; "" where there is none."""
    meaning = ""
    for place, message in enumerate(earlier):
        if message.role == "user":
            _, answer = last_exchange(earlier[:place])
            meaning = understood(message.content, meaning, answer)
    return meaning


def transcript(earlier: Sequence[Message]) -> str:
    """The end of a conversation as text, for a prompt."""
    said = [
        f"{message.role}: {' '.join(message.content.split())}"
        for message in earlier
        if message.role != "system"
    ]
    return "\n".join(each[:MAX_MESSAGE_CHARACTERS] for each in said[-MAX_MESSAGES:])


def understood(question: str, previous: str, answer: str) -> str:
    """The question as one that stands by itself; `previous` is the question before as it was understood."""
    text = question.strip()
    if not previous.strip():
        return text
    if _AGREEING.fullmatch(text):
        return _offered(answer) or previous
    if item := _item(text, answer):
        return f"{previous.rstrip('?. ')}: {item}"
    changed = _CHANGED.fullmatch(text)
    if changed:
        return _with_change(previous, (changed["about"] or changed["also"] or changed["only"]).strip())
    words = text.split()
    if len(words) <= MAX_FOLLOW_UP_WORDS and _PRONOUN.search(text) and not _names(text):
        return f"{text.rstrip('? ')} ({_subject(previous)})?"
    return text


def stands_alone(question: str, previous: str) -> bool:
    """Whether it means the same without what came before."""
    return understood(question, previous, "") == question.strip() and not _ORDINAL.search(question)


def _offered(answer: str) -> str:
    """The question that an answer ends with, as one offers: "Do you want to know how runs are retried?"."""
    sentences = re.split(r"(?<=[.!?])\s+", _MARKER.sub("", answer).strip())
    return sentences[-1] if sentences and sentences[-1].endswith("?") else ""


def _item(question: str, answer: str) -> str:
    """The item of an answer that a short question points at."""
    match = _ORDINAL.search(question)
    if match is None or len(question.split()) > MAX_FOLLOW_UP_WORDS or not answer:
        return ""
    items = [_MARKER.sub("", each).strip() for each in _ITEM.findall(answer)]
    items = items or [_MARKER.sub("", each).strip() for each in answer.split("\n\n") if each.strip()]
    place = match["place"].casefold()
    index = {"last": len(items) - 1, "latter": len(items) - 1, "former": 0}.get(place)
    index = _ORDINALS.index(place) if index is None else index
    return items[index] if 0 <= index < len(items) and len(items) > 1 else ""


def _with_change(previous: str, change: str) -> str:
    """The question before with another year, or another name in the last one's place; else both."""
    plain = _PREPOSITION.sub("", change, count=1)
    if _YEAR.fullmatch(plain):
        return (
            _YEAR.sub(plain, previous) if _YEAR.search(previous) else f"{previous.rstrip('?. ')} in {plain}?"
        )
    names = list(_NAME.finditer(previous))
    if names and (_names(f"x {plain}") or plain[:1].isupper()) and len(plain.split()) <= 4:
        last = names[-1]
        return previous[: last.start()] + plain + previous[last.end() :]
    return f"{previous.rstrip('?. ')} {change}?"


def _subject(previous: str) -> str:
    """What a question is about: its words but for those that ask."""
    return _ASKING.sub("", previous.strip(), count=1).rstrip("?. ") or previous


def _names(question: str) -> list[str]:
    return [match.group() for match in _NAME.finditer(question)]
