"""`GET /v1/models`: each collection is a model that answers from it, and `pgfolio` answers from all of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 -- litestar reads it
from typing import TYPE_CHECKING, Final

from litestar import get

from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.service.openai import contracts as c
from pgfolio.query_api.service.openai.documented import ERRORS, MISSING
from pgfolio.query_api.service.openai.errors import UnknownModelError
from pgfolio.query_api.service.requests import AnyRequest, permitted, services
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import in_snapshot
from pgfolio.schema.search.vector import collection_ids

if TYPE_CHECKING:
    from litestar.params import FromPath

    from pgfolio.schema.search.catalog import StoredCollection

ALL: Final = "pgfolio"


@get("/v1/models", opt=READ, responses=ERRORS, summary="Collections, as models of OpenAI's API")
async def list_models(request: AnyRequest) -> c.ModelList:
    return c.ModelList(data=await _models(request))


@get("/v1/models/{model:path}", opt=READ, responses={**ERRORS, **MISSING}, summary="One of them")
async def get_model(request: AnyRequest, model: FromPath[Path]) -> c.Model:
    name = model.as_posix().removeprefix("/")
    for each in await _models(request):
        if each.id == name:
            return each
    raise UnknownModelError(name)


async def collections_of_model(request: AnyRequest, model: str) -> tuple[str, ...] | None:
    """The collection that a model answers from; None: all that the caller may see. Raises UnknownModelError."""
    kind, slash, name = model.partition("/")
    if model == ALL:
        return None
    if kind == ALL and slash:
        read = partial(collection_ids, names=(name,), permitted=permitted(request))
        if name in await in_snapshot(services(request).retriever.pool, read):
            return (name,)
    raise UnknownModelError(model)


async def stored_collections(request: AnyRequest) -> list[StoredCollection]:
    """Those that the caller may see."""
    read = partial(catalog.list_collections, permitted=permitted(request))
    return await in_snapshot(services(request).retriever.pool, read)


def unix_time(collection: StoredCollection) -> int:
    """When it was synced last; 0: never."""
    return int(collection.synced_at.timestamp()) if collection.synced_at else 0


async def _models(request: AnyRequest) -> list[c.Model]:
    stored = await stored_collections(request)
    newest = max(map(unix_time, stored), default=0)
    each = [c.Model(id=f"{ALL}/{item.name}", created=unix_time(item)) for item in stored]
    return [c.Model(id=ALL, created=newest), *each]
