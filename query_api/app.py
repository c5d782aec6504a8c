"""The HTTP application: its routes, its errors, its OpenAPI document."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from query_api.errors import add_trace_header, answer_problem
from query_api.routes import ROUTES
from query_api.services import open_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from config.settings import Settings

LARGEST_REQUEST = 1024 * 1024


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
        logging_config=None,  # whose program this is decides on logging
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


def _version() -> str:
    try:
        return version("pgfolio")
    except PackageNotFoundError:
        return "0"
