"""The HTTP application: routes, errors, and what lives as long as it does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from config.models import chat_model
from config.prompts import load_prompts
from query_api.active import ActiveSpaces
from query_api.answer import Answerer
from query_api.errors import add_trace_header, answer_problem
from query_api.retrieve import Retriever
from query_api.routes import ROUTES
from schema.search import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from config.settings import Settings

LARGEST_REQUEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Services:
    """What routes use."""

    conninfo: str
    retriever: Retriever
    answerer: Answerer


def create_app(settings: Settings, conninfo: str) -> Litestar:
    """An application that accepts requests once its pool is open and the active space's model is loaded."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_services(settings, conninfo) as services:
            app.state.services = services
            yield

    return Litestar(
        ROUTES,
        lifespan=[lifespan],
        before_send=[add_trace_header],
        exception_handlers={Exception: answer_problem},
        request_max_body_size=LARGEST_REQUEST,
        openapi_config=OpenAPIConfig(
            title="pgfolio",
            version=_version(),
            description="Search and answers over folders of documents.",
            path="/schema",
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
            use_handler_docstrings=True,
        ),
    )


@asynccontextmanager
async def open_services(settings: Settings, conninfo: str) -> AsyncIterator[Services]:
    """Everything that answers questions, ready. Raises ConfigError, DatabaseError, a ModelError."""
    prompts = load_prompts()
    chat = chat_model(settings)
    async with open_pool(conninfo, settings.api.pool_size) as pool:
        spaces = ActiveSpaces(settings, pool)
        retriever = Retriever(settings, pool, spaces)
        answerer = Answerer(retriever, chat, prompts)
        try:
            await spaces.current()
            yield Services(conninfo, retriever, answerer)
        finally:
            answerer.close()
            spaces.close()


def _version() -> str:
    try:
        return version("pgfolio")
    except PackageNotFoundError:
        return "0"
