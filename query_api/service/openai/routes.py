"""The routes of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.query_api.service.openai.chat import chat_completions
from pgfolio.query_api.service.openai.embeddings import embeddings
from pgfolio.query_api.service.openai.models import get_model, list_models
from pgfolio.query_api.service.openai.vector_stores import list_vector_stores, search_vector_store

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

ROUTES: Final[list[HTTPRouteHandler]] = [
    list_models,
    get_model,
    chat_completions,
    embeddings,
    list_vector_stores,
    search_vector_store,
]
