"""What answers questions, opened together and closed together: for the API and for the terminal."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.config.models import chat_model, reranker
from pgfolio.config.prompts import FILE, Prompts
from pgfolio.query_api.answering.answerer import Answerer
from pgfolio.query_api.retrieval.query_embedding import ActiveSpaces
from pgfolio.query_api.retrieval.reranking import Reranking
from pgfolio.query_api.retrieval.retriever import Retriever
from pgfolio.schema.search.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgfolio.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What routes and the terminal use."""

    conninfo: str
    retriever: Retriever
    answerer: Answerer


@asynccontextmanager
async def open_services(settings: Settings, conninfo: str) -> AsyncIterator[Services]:
    """Everything that answers questions, ready. Raises ConfigError, DatabaseError, a ModelError."""
    prompts = Prompts(settings.chat.prompts or FILE)
    chat = chat_model(settings)
    api = settings.api
    async with open_pool(
        conninfo,
        api.pool_size or max(2 * (os.cpu_count() or 1), 4),
        settings.index.ef_search,
        waiting=api.max_waiting,
        longest=api.statement_timeout,
    ) as pool:
        spaces = ActiveSpaces(settings, pool)
        rerank = settings.rerank
        reranking = Reranking(reranker(settings), rerank.timeout, rerank.candidates)
        retriever = Retriever(settings, pool, spaces, reranking)
        answerer = Answerer(retriever, chat, prompts)
        try:
            await spaces.current()
            yield Services(conninfo, retriever, answerer)
        finally:
            answerer.close()
            reranking.close()
            spaces.close()
