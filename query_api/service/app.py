"""The HTTP application: its routes, its errors, its OpenAPI document."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures.headers import MutableScopeHeaders
from litestar.enums import HttpMethod
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.routes import HTTPRoute

from pgfolio.config import telemetry
from pgfolio.query_api.auth.guard import READ, Guard
from pgfolio.query_api.auth.keyring import open_keys
from pgfolio.query_api.background import Supervisor
from pgfolio.query_api.explain.trace_log import open_traces
from pgfolio.query_api.observability import metrics
from pgfolio.query_api.observability.request_log import RequestLog
from pgfolio.query_api.originals.pictures import Pictures
from pgfolio.query_api.service import ui_message_stream
from pgfolio.query_api.service.documents import document_routes
from pgfolio.query_api.service.facets import facets
from pgfolio.query_api.service.flow_requests import approve, ask_sync, forget, get_request, list_requests
from pgfolio.query_api.service.keys import keys, make_key, revoke_key
from pgfolio.query_api.service.mcp.mount import mcp, open_mcp
from pgfolio.query_api.service.middleware import RequestObserver
from pgfolio.query_api.service.openai.routes import ROUTES as OPENAI_ROUTES
from pgfolio.query_api.service.openapi import ExamplesPlugin
from pgfolio.query_api.service.operations import collections, live, prometheus, ready, status
from pgfolio.query_api.service.originals import original, page_picture
from pgfolio.query_api.service.page import page_file, view
from pgfolio.query_api.service.problems import add_headers, answer_problem
from pgfolio.query_api.service.search import ask, search
from pgfolio.query_api.service.sessions import session, sign_in, sign_out
from pgfolio.query_api.service.strict_body import StrictRequest, require_strict_body
from pgfolio.query_api.service.traces import trace
from pgfolio.query_api.services import open_services, replica_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from litestar.types import ControllerRouterHandler, Message, Scope

    from pgfolio.config.settings import Api, Settings
    from pgfolio.schema.search.pool import Pool

DESCRIPTION = (
    "Search and answers over folders of documents. "
    "HEAD is answered wherever GET is, with the same status and headers."
)
ROUTES: list[ControllerRouterHandler] = [search, ask, trace, collections, status, live, ready, prometheus]
ROUTES += [facets, original, page_picture]
ROUTES += [sign_in, session, sign_out, keys, make_key, revoke_key]
ROUTES += [ask_sync, approve, forget, get_request, list_requests]
ROUTES += [view, page_file, *OPENAI_ROUTES, mcp]
SCHEMES: dict[str, SecurityScheme | Reference] = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="A key of `pgfolio keys add`."),
    "header": SecurityScheme(
        type="apiKey", name="X-API-Key", security_scheme_in="header", description="The same."
    ),
}
"""Not needed while no key was ever made and only this machine is listened to."""


def create_app(settings: Settings, conninfo: str) -> Litestar:
    """An application that accepts requests once its pool is open and the active space's model is loaded."""
    telemetry.start("pgfolio-api")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with (
            open_services(settings, conninfo, supervisor) as services,
            open_keys(conninfo, supervisor, read_only=read_only, replica=replica_of(settings)) as key_ring,
            open_traces(conninfo, settings.traces, supervisor, read_only=read_only) as traces,
            _sampling(services.retriever.pool, supervisor),
            open_mcp(settings.api) as app.state.mcp,
        ):
            app.state.services, app.state.key_ring, app.state.traces = services, key_ring, traces
            app.state.pictures = pictures = Pictures()
            app.state.supervisor, app.state.guard = supervisor, guard
            try:
                yield
            finally:
                pictures.close()
                metrics.mark_process_dead()
                log.close()

    log, read_only = RequestLog(settings.api.log), settings.api.read_only
    guard = Guard(settings.api)
    supervisor = Supervisor(lambda name, fault: log.add(background=name, fault=fault))
    app = Litestar(
        [*ROUTES, document_routes(settings.api)],
        lifespan=[lifespan],
        guards=[guard],
        cors_config=_cors(settings.api),
        request_class=StrictRequest,
        before_request=require_strict_body,
        before_send=[add_headers, _allow],
        exception_handlers={Exception: answer_problem},
        logging_config=None,  # whose program this is decides on logging
        request_max_body_size=settings.api.max_body_kb * 1024,
        openapi_config=OpenAPIConfig(
            title="pgfolio",
            version=_version(),
            description=DESCRIPTION,
            openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, opt=READ),
            render_plugins=[ExamplesPlugin(path=["/", "/openapi.json"])],
            use_handler_docstrings=True,
            components=Components(security_schemes=SCHEMES),
            security=[{name: []} for name in SCHEMES],
        ),
    )
    # around the router, which answers 404
    app.asgi_handler = RequestObserver(app.asgi_handler, log, settings.api)
    return app


def _sampling(pool: Pool, supervisor: Supervisor) -> AbstractAsyncContextManager[None]:
    async def sample(_: None) -> None:
        metrics.sample(pool)

    effect = "how many connections the pool has is not counted"
    return supervisor.running("metrics", effect, nullcontext, sample, metrics.SAMPLE_SECONDS)


async def _allow(message: Message, scope: Scope) -> None:
    """Litestar's own answer to OPTIONS knows only the method of a path that was registered first, and of HEAD it
    knows nothing."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    if "allow" not in headers:
        return
    methods = set(headers["allow"].split(", "))
    routes = (route for route in scope["litestar_app"].routes if isinstance(route, HTTPRoute))
    for route in routes:
        if route.path_format == scope.get("path_template"):
            methods |= route.methods
    if HttpMethod.GET in methods:
        methods.add(HttpMethod.HEAD.value)
    headers["allow"] = ", ".join(sorted(methods))


def _cors(api: Api) -> CORSConfig | None:
    """None: no page of another origin may read an answer."""
    if not api.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(api.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", ui_message_stream.HEADER],
        expose_headers=["X-Trace-Id", "Retry-After", ui_message_stream.HEADER],
    )


def _version() -> str:
    try:
        return version("pgfolio")
    except PackageNotFoundError:
        return "0"
