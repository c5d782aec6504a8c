"""What routes share: the request's services, what it may see, and the errors that they all may answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.service import contracts as c

if TYPE_CHECKING:
    from pgfolio.query_api.services import Services
    from pgfolio.schema.search.access import Permitted


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
