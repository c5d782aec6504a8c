"""`/keys`: an administrator makes, lists and revokes API keys. One who is limited to collections sees, makes and
revokes only keys that may see no more."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from litestar import delete, get, post

from pgfolio.query_api.auth.guard import ADMIN
from pgfolio.query_api.service import access_contracts as c
from pgfolio.query_api.service.problems import UnknownKeyError, trace_id
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, written
from pgfolio.schema.operations import api_keys

if TYPE_CHECKING:
    from litestar.params import FromPath, JSONBody

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.operations.api_keys import ListedKey, NewKey

MAKING = {**PROBLEMS, **dict.fromkeys((413, 415), PROBLEM)}


@get("/keys", opt=ADMIN, responses=PROBLEMS, summary="API keys, without the keys themselves")
async def keys(request: AnyRequest) -> c.KeyList:
    allowed = permitted(request)

    def read(connection: Connection) -> list[ListedKey]:
        return api_keys.listed(connection, allowed)

    listed = await written(request, read)
    return c.KeyList([c.KeyItem(**asdict(key)) for key in listed], trace_id(request.scope))


@post("/keys", opt=ADMIN, status_code=201, responses=MAKING, summary="Make an API key")
async def make_key(request: AnyRequest, data: JSONBody[c.KeyRequest]) -> c.KeyAnswer:
    """It is shown in this answer and never again: only its hash is stored."""
    expires_at, allowed = _future(data.expires), permitted(request)

    def write(connection: Connection) -> NewKey:
        return api_keys.add(connection, data.name, data.scope, data.collections or (), expires_at, allowed)

    made = await written(request, write)
    values = asdict(made)
    return c.KeyAnswer(key=values.pop("secret"), **values, trace_id=trace_id(request.scope))


@delete(
    "/keys/{key_id:int}",
    opt=ADMIN,
    status_code=204,
    responses={**PROBLEMS, 404: PROBLEM},
    summary="Revoke an API key",
)
async def revoke_key(request: AnyRequest, key_id: FromPath[int]) -> None:
    """Within a second it opens nothing, in any process."""
    allowed = permitted(request)

    def write(connection: Connection) -> None:
        api_keys.revoke(connection, str(key_id), allowed)

    try:
        await written(request, write)
    except api_keys.WrongKeyError as error:
        raise UnknownKeyError(
            f"there is no key {key_id} in use: GET /keys lists those that there are"
        ) from error


def _future(expires: datetime | None) -> datetime | None:
    """A time without a zone is UTC. Raises WrongKeyError."""
    if expires is None:
        return None
    moment = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise api_keys.WrongKeyError("`expires` is past already")
    return moment
