"""A terminal that no text controls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


CONTROLS = re.compile(r"(?![\n\t]|\r\n)[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Unicode's category Cc, and the marks that turn the direction of what follows."""


def printable(text: str) -> str:
    """The text as people may see it: U+FFFD for each character that a terminal obeys instead of printing it, so that
    no document sets a title or the clipboard. Line feeds, with a carriage return or without, and tabs are kept."""
    return CONTROLS.sub("\ufffd", text)


def printable_json(text: str) -> str:
    """JSON that means the same, with such characters as escapes: a terminal obeys some of those that JSON leaves as
    they are."""
    return CONTROLS.sub(lambda control: f"\\u{ord(control[0]):04x}", text)


class Terminal(Console):
    """Prints nothing that a terminal obeys but what rich itself makes, whatever stands in the texts.

    Replaced before anything is laid out, for a control character has no width and U+FFFD has one. A `Text` is without
    BEL, BS, VT, FF and CR as soon as it is made: give it `printable(...)` where these are to be seen too. A file
    named `:cat:.md` is shown by its name and not as a picture.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text):
            renderable = _cleaned(renderable)
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def _cleaned(text: Text) -> Text:
    cleaned = text.copy()
    cleaned.plain = printable(text.plain)  # as long as before: the styles stay where they are
    return cleaned


ERR = Terminal(stderr=True, soft_wrap=True)
