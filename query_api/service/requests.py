"""What routes share: the request's services, what it may see, and the errors that they all may answer with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from litestar import Request
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.service import contracts as c
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.query_api.services import Services
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.search.access import Permitted

Result = TypeVar("Result")
MAX_BIGINT: Final = 2**63 - 1

AnyRequest = Request[Any, Any, State]

PROBLEM = ResponseSpec(
    c.ProblemDetails, description="What is wrong, and what to do", media_type="application/problem+json"
)

PROBLEMS = dict.fromkeys((400, 401, 403, 429, 500, 503), PROBLEM)

ASKING = {**PROBLEMS, **dict.fromkeys((404, 413, 415, 502), PROBLEM)}


def services(request: AnyRequest) -> Services:
    opened: Services = request.app.state.services
    return opened


def permitted(request: AnyRequest) -> Permitted:
    """What whoever asks may see."""
    return caller_of(request.scope).permitted


def stored_id(number: int) -> int:
    """An id that PostgreSQL can compare; one that is none stays none."""
    return min(max(number, -1), MAX_BIGINT)


async def written(request: AnyRequest, work: Callable[[Connection], Result]) -> Result:
    """What an administrator does, seldom: in a thread, in one transaction of a connection of its own, which may
    write. Raises DatabaseError, and what the work raises."""
    opened = services(request)

    def run() -> Result:
        with connect(opened.conninfo, timeout=opened.retriever.settings.api.statement_timeout) as connection:
            return work(connection)

    return await asyncio.to_thread(run)
