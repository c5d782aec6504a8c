"""How a model's answer ended, and what it took: for whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.config.models.protocols import CONTENT_FILTER, OUT_OF_TOKENS
from pgfolio.query_api.answering.records import Usage

if TYPE_CHECKING:
    from pgfolio.config.models.protocols import Completion


def usage_of(completion: Completion) -> Usage | None:
    """None where the server does not say."""
    if completion.input_tokens is None or completion.output_tokens is None:
        return None
    return Usage(completion.input_tokens, completion.output_tokens)


def ending_notes(completion: Completion) -> list[str]:
    """What is to be known of how the answer ended."""
    if completion.finish_reason in OUT_OF_TOKENS:
        return [
            "the answer was cut: it reached the most tokens of an answer (PGFOLIO_CHAT__MAX_OUTPUT_TOKENS)"
        ]
    if completion.finish_reason == CONTENT_FILTER:
        return ["the answer was cut by the content filter of the model's server"]
    if completion.finish_reason is None:
        return ["the model's server does not say why the answer ended: it may be cut"]
    return []
