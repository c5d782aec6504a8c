"""Decides: what a chat program's messages ask. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pgfolio.query_api.answering.conversation import Message
from pgfolio.query_api.retrieval.query import MAX_QUESTION_CHARACTERS
from pgfolio.query_api.service.openai.source_links import without_links
from pgfolio.query_api.service.strict_body import WrongFieldError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.service.openai.contracts import ChatMessage

TASK: Final = "### Task:"
"""How the last message begins where a chat program wants a title, tags or follow-up questions for itself."""

MAX_EARLIER: Final = 100
"""Messages of the conversation that count; as for /ask."""

TEXT_PARTS: Final = {"text", "input_text", "output_text"}


class Conversation(NamedTuple):
    """A question with what was said before it, or a chat program's task, which is about no document."""

    text: str
    earlier: list[Message]
    instructions: str
    is_task: bool


def conversation(messages: Sequence[ChatMessage]) -> Conversation:
    """The last message of the user is the question. Raises WrongFieldError."""
    places = [place for place, message in enumerate(messages) if message.role == "user"]
    if not places:
        raise WrongFieldError("messages: there is none of the user, which would be the question")
    last = places[-1]
    where = f"messages[{last}].content"
    text = _text(messages[last])
    if not text.strip():
        raise WrongFieldError(f"{where}: there is no text in it, and nothing else is read")
    is_task = text.lstrip().startswith(TASK)
    if len(text) > MAX_QUESTION_CHARACTERS and not is_task:
        raise WrongFieldError(
            f"{where}: a question may have {MAX_QUESTION_CHARACTERS:,} characters, and this one has {len(text):,}"
        )
    said = [_message(message) for message in messages[:last] if message.role not in {"tool", "function"}]
    earlier = [message for message in said if message.role != "system"][-MAX_EARLIER:]
    instructions = "\n\n".join(message.content for message in said if message.role == "system")
    return Conversation(text, earlier, instructions, is_task)


def _message(message: ChatMessage) -> Message:
    text = _text(message)
    if message.role == "assistant":
        return Message("assistant", without_links(text))
    return Message("user" if message.role == "user" else "system", text)


def _text(message: ChatMessage) -> str:
    content = message.content or ""
    if not isinstance(content, str):
        content = "\n".join(part.text for part in content if part.text and part.type in TEXT_PARTS)
    return content.replace("\x00", " ")
