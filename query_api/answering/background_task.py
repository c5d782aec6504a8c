"""What a chat program asks for itself, such as a title or tags of a conversation: written by the chat model from what
the program sends. No document is looked at, so nothing is cited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.ending import usage_of
from pgfolio.query_api.answering.records import Answer
from pgfolio.query_api.observability.timings import stage

if TYPE_CHECKING:
    from pgfolio.config.models.protocols import ChatModel

INSTRUCTIONS: Final = "You help a chat program. Do exactly what its task says, and write nothing else."
NO_CHAT_MODEL: Final = (
    "This server has no chat model that could do this: "
    "it answers questions from its documents, by quoting them."
)


async def background_task(chat: ChatModel | None, task: str, instructions: str) -> Answer:
    """Without a chat model a sentence that says so. Raises a ModelError."""
    if chat is None:
        return Answer(NO_CHAT_MODEL, answered=False, mode="extractive")
    with stage("model"):
        completion = await chat.complete(instructions or INSTRUCTIONS, task)
    return Answer(
        completion.text.strip(),
        answered=True,
        mode="generated",
        model=completion.model,
        usage=usage_of(completion),
        finish_reason=completion.finish_reason,
    )
