"""What answers questions, opened together and closed together: for the API and for the terminal."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgfolio.config.models import reranker
from pgfolio.config.models.rerank_http import AsyncHttpReranker
from pgfolio.config.prompts import FILE, Prompts
from pgfolio.query_api.answering.answerer import Answerer
from pgfolio.query_api.background import Supervisor
from pgfolio.query_api.retrieval.query_embedding import ActiveSpaces, preloading
from pgfolio.query_api.retrieval.reranking import Reranking, ThreadedReranker
from pgfolio.query_api.retrieval.retriever import Retriever
from pgfolio.schema.search.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgfolio.config.models.protocols import ChatModel
    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.reranking import AsyncReranker

WAIT_TIME_SHARE: Final = 0.9
"""Of the time that a request may take, what it may wait for the database before it is told when to come again."""


@dataclass(frozen=True, slots=True)
class Services:
    """What routes and the terminal use."""

    conninfo: str
    retriever: Retriever
    answerer: Answerer


@asynccontextmanager
async def open_services(
    settings: Settings, conninfo: str, supervisor: Supervisor | None = None
) -> AsyncIterator[Services]:
    """Everything that answers questions, ready. Raises ConfigError, DatabaseError, a ModelError."""
    prompts = Prompts(settings.chat.prompts or FILE)
    chat = _chat_model(settings)
    api = settings.api
    async with open_pool(
        conninfo,
        api.pool_size or max(2 * (os.cpu_count() or 1), 4),
        settings.index.ef_search,
        waiting=api.max_waiting,
        wait=api.timeout * WAIT_TIME_SHARE,
        longest=api.statement_timeout,
        replica=replica_of(settings),
    ) as pool:
        spaces = ActiveSpaces(settings, pool)
        reranking = Reranking(_reranker(settings), settings.rerank.timeout, settings.rerank.candidates)
        retriever = Retriever(settings, pool, spaces, reranking)
        answerer = Answerer(retriever, chat, prompts)
        try:
            await spaces.current()
            async with preloading(spaces, supervisor or Supervisor()):
                yield Services(conninfo, retriever, answerer)
        finally:
            await answerer.close()
            await reranking.close()
            spaces.close()


def replica_of(settings: Settings) -> str | None:
    """The connection string of what is read from instead of the database itself; None: nothing."""
    url = settings.api.database_url
    return url.get_secret_value() if url else None


def _chat_model(settings: Settings) -> ChatModel | None:
    """None where none is configured: answers are then extractive. Raises ConfigError."""
    chat = settings.chat
    if chat.provider == "none" or (chat.provider == "auto" and not chat.model):
        return None
    from pgfolio.config.models.openai import chat_client  # noqa: PLC0415

    return chat_client(settings)


def _reranker(settings: Settings) -> AsyncReranker | None:
    """None where none is set. Raises ConfigError."""
    rerank = settings.rerank
    if rerank.api == "local":
        local = reranker(settings)
        return None if local is None else ThreadedReranker(local)
    if not rerank.url:
        return None
    key = rerank.key.get_secret_value() if rerank.key else None
    return AsyncHttpReranker(rerank.url, rerank.model, key, rerank.timeout, rerank.api)
