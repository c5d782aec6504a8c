"""What a question means after what was said before: by the chat model where there is one, else by rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.conversation import (
    last_exchange,
    stands_alone,
    transcript,
    understood,
    understood_before,
)
from pgfolio.query_api.answering.refusal import is_refusal
from pgfolio.query_api.observability.timings import stage
from pgfolio.query_api.retrieval.query import MAX_QUESTION_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.config.models.protocols import ChatModel
    from pgfolio.config.prompts import Prompt
    from pgfolio.query_api.answering.conversation import Message

FOLLOW_UP: Final = "follow_up"
"""The prompt by which a chat model says what a follow-up means; a file of prompts need not have it."""


async def understand(
    chat: ChatModel | None, prompts: Mapping[str, Prompt], question: str, earlier: Sequence[Message]
) -> str:
    """The question as one that stands by itself. One that does so costs no call. Raises a ModelError."""
    previous, (_, answer) = understood_before(earlier), last_exchange(earlier)
    if not previous or stands_alone(question, previous):
        return question
    prompt = prompts.get(FOLLOW_UP)
    if chat is None or prompt is None:
        return understood(question, previous, answer)[:MAX_QUESTION_CHARACTERS]
    system, user = prompt.render(question=question, context=transcript(earlier))
    with stage("model"):
        completion = await chat.complete(system, user)
    text = " ".join(completion.text.split())[:MAX_QUESTION_CHARACTERS]
    return question if not text or is_refusal(prompt, text, cites=False) else text
