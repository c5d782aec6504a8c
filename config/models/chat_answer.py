"""Reads a chat model's answer, whole or as a stream: its text without thoughts, why it ended, and what was billed."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, Final

from pgfolio.config.models.failures import own_words
from pgfolio.config.models.protocols import (
    CONTENT_FILTER,
    OUT_OF_TOKENS,
    Completion,
    NoAnswerError,
    TransientError,
)
from pgfolio.config.models.thinking import ThoughtFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUNCATED: Final = OUT_OF_TOKENS | {CONTENT_FILTER}


class ChatAnswer:
    """What the events of a stream, or one whole answer, make together."""

    def __init__(self, what: str, model: str, *, closes_first: bool = False) -> None:
        """`what` names the model in sentences; `closes_first`: see ThoughtFilter."""
        self.what = what
        self._model = model
        self._pieces: list[str] = []
        self._decoded = _Text()
        self._thoughts = ThoughtFilter(closes_first=closes_first)
        self._usage: Mapping[str, Any] = {}
        self._declined = ""
        self._called_tools = self._thought_aside = self._said = False
        self.finish_reason: str | None = None

    @property
    def closes_first(self) -> bool:
        return self._thoughts.closes_first

    def add(self, event: Mapping[str, Any]) -> str:
        """The piece of the text that is certain with this event, which may be empty."""
        self._read_head(event)
        choice = _first(event.get("choices"))
        message = choice.get("delta") or choice.get("message")
        message = message if isinstance(message, dict) else {}
        self._declined += _text_of(message.get("refusal"))
        self._called_tools = self._called_tools or bool(
            message.get("tool_calls") or message.get("function_call")
        )
        thought = message.get("reasoning_content") or message.get("reasoning")
        self._thought_aside = self._thought_aside or bool(thought)
        content = choice.get("text") if message.get("content") is None else message["content"]
        self._said = self._said or isinstance(content, (str, list)) or "delta" in choice
        text = _text_of(content)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.finish_reason = reason
        return self._more(self._decoded.more(text))

    def end(self, *, ended: bool = True) -> str:
        """What is left of the text. `ended`: the answer came to its end by itself. Raises TransientError where it did
        not: a connection without a length that ends early looks like one that is done."""
        if not ended and self.finish_reason is None:
            raise TransientError(f"{self.what}: its answer was cut off")
        rest = self._more(self._decoded.more("", last=True))
        left = self._thoughts.end(complete=self.finish_reason not in TRUNCATED)
        self._pieces.append(left)
        return rest + left

    def completion(self) -> Completion:
        """The whole. Raises NoAnswerError where something else took an answer's place."""
        text = "".join(self._pieces).strip()
        if not text and (reason := self._why_empty()):
            raise NoAnswerError(reason)
        return Completion(
            text,
            self._model,
            input_tokens=_count(self._usage.get("prompt_tokens")),
            output_tokens=_count(self._usage.get("completion_tokens")),
            finish_reason=self.finish_reason,
        )

    def _more(self, decoded: str) -> str:
        was_thought = not self._thoughts.closes_first
        piece = self._thoughts.more(decoded)
        if was_thought and self._thoughts.closes_first:  # what was given until now
            self._pieces.clear()
        self._pieces.append(piece)
        return piece

    def _read_head(self, event: Mapping[str, Any]) -> None:
        if isinstance(usage := event.get("usage"), dict):
            self._usage = usage
        if isinstance(model := event.get("model"), str) and model:
            self._model = _Text().more(model, last=True)

    def _why_empty(self) -> str:
        """Empty: it was an empty text that the model answered, and nothing says why."""
        if self._declined.strip():
            return f"{self.what} refused to answer: {own_words(self._declined)}"
        if self.finish_reason in OUT_OF_TOKENS:
            return (
                f"{self.what} used up its tokens before it answered, which models that think aloud do: raise "
                "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"
            )
        if self.finish_reason == CONTENT_FILTER:
            return f"{self.what}: the server's content filter withheld the answer"
        if self._called_tools or self.finish_reason in {"tool_calls", "function_call"}:
            return f"{self.what} asked for tools instead of answering: it was given none"
        if self._thought_aside or self._thoughts.thought:
            return f"{self.what} thought aloud and ended without an answer"
        return "" if self._said else f"{self.what} answered without a text"


def complete_answer(answer: ChatAnswer, body: Mapping[str, Any]) -> Completion:
    """The answer in one body. Raises a ModelError."""
    if not _first(body.get("choices")):
        raise NoAnswerError(f"{answer.what} answered without a choice")
    answer.add(body)
    answer.end()
    return answer.completion()


class _Text:
    """What a server sends as text, made text. JSON may have half of a surrogate pair, which nothing can encode: the
    other half may come with the next piece; one that stays alone becomes U+FFFD. NUL, which PostgreSQL does not
    store, is left out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def more(self, piece: str, *, last: bool = False) -> str:
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"), last).replace("\0", "")


def _first(choices: object) -> Mapping[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _text_of(content: object) -> str:
    """Text, or that of its parts; parts that are thought, pictures or calls have none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(_text_of_part(part) for part in content)


def _text_of_part(part: object) -> str:
    if isinstance(part, dict):
        known = part.get("type") in {None, "text", "output_text"}
        part = part.get("text") if known else ""
        if isinstance(part, dict):  # as the Assistants API nests it
            part = part.get("value")
    return part if isinstance(part, str) else ""


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 53 else None
