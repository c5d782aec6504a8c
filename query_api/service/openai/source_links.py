"""Decides: how an answer's sources are told in a chat: as links beneath the text, and as annotations of them. Pure.

Chat programs read one or the other. A document's text may hold anything: nothing of it becomes Markdown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pgfolio.query_api.service.links import document_url, passage_label
from pgfolio.query_api.service.openai.contracts import Annotation, UrlCitation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.query_api.answering.records import Answer

HEADING: Final = "\n\nSources:\n"
_LINE: Final = r"- (?:\[\d+\] )?\[(?:\\.|[^\\\[\]\n])*\]\([^()\s]*\)"
_LINKS: Final = re.compile(rf"\s*^Sources:\n{_LINE}(?:\n{_LINE})*\s*\Z", re.MULTILINE)
_MARKDOWN: Final = re.compile(r"([\\\[\]<>*`~|&!])")


class LinkedSource(NamedTuple):
    marker: int | None
    title: str
    url: str


def links(answer: Answer, base: str, offset: int) -> tuple[str, list[Annotation]]:
    """What follows a text of `offset` characters, and the annotations of it; nothing for who got no answer."""
    text, annotations = "", []
    for source in _sources(answer, base):
        text += "\n- " if text else f"{HEADING}- "
        text += f"[{source.marker}] " if source.marker is not None else ""
        link = _link(source)
        start = offset + len(text)
        text += link
        annotations.append(
            Annotation(url_citation=UrlCitation(source.url, source.title, start, start + len(link)))
        )
    return text, annotations


def without_links(text: str) -> str:
    """An answer that comes back in a conversation, as it was before its links: they say nothing of what is meant."""
    return _LINKS.sub("", text)


def _link(source: LinkedSource) -> str:
    title = _MARKDOWN.sub(r"\\\1", source.title)
    return f"[{title}]({source.url})"


def _sources(answer: Answer, base: str) -> Iterator[LinkedSource]:
    """Each passage once, by its first marker; the documents themselves where the answer is about them."""
    if not answer.answered:
        return
    seen = set()
    for citation in answer.citations:
        url = document_url(base, citation.document_id, citation.start, citation.end)
        if url not in seen:
            seen.add(url)
            yield LinkedSource(
                citation.marker, passage_label(citation.path, citation.page, citation.quote), url
            )
    if not answer.citations:
        for source in answer.sources:
            yield LinkedSource(None, passage_label(source.path, None), document_url(base, source.id))
