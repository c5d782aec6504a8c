"""Decides: whether a chat model says that the documents do not answer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfolio.config.prompts import Prompt


def may_become_refusal(prompt: Prompt, text: str) -> bool:
    """Whether what the model has said so far may become its refusal: then it is not streamed yet."""
    opening = _opening(text)
    return prompt.refusal.casefold().startswith(opening) or opening.startswith(prompt.refusal.casefold())


def is_refusal(prompt: Prompt, text: str, *, cites: bool) -> bool:
    """It begins with the refusal, or says so somewhere and cites nothing: a part of the question that the documents
    do not answer does not take the rest with it."""
    refusal = prompt.refusal.casefold()
    return _opening(text).startswith(refusal) or (refusal in text.casefold() and not cites)


def _opening(text: str) -> str:
    return text.lstrip(" \n\"'*`").casefold()
