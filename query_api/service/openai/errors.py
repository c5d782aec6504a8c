"""Decides: a problem as OpenAI tells of errors. Pure.

Its SDK takes the status for the exception's type: 400 BadRequestError, 401 AuthenticationError, 403
PermissionDeniedError, 404 NotFoundError, 429 RateLimitError, from 500 on InternalServerError.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from pgfolio.query_api.service.contracts import ProblemDetails

PATH: Final = "/v1"
"""Below it errors have this shape."""

CODES: Final = {
    "unauthenticated": "invalid_api_key",
    "unknown-model": "model_not_found",
    "too-many-requests": "rate_limit_exceeded",
}
"""Where OpenAI has a word of its own."""

TYPES: Final = {403: "permission_error", 429: "rate_limit_error"}
_PARAMETER: Final = re.compile(r"`?([a-z_]+(?:\[\d+\]|\.[a-z_]+)*)`?(?:: | is missing)")


class ErrorDetails(Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Struct, frozen=True):
    """What is wrong and what to do, in OpenAI's shape."""

    error: ErrorDetails


class UnknownModelError(Exception):
    """A model that is no collection, or none that may be seen."""

    def __init__(self, model: str) -> None:
        super().__init__(f"there is no model {model[:200]!r}: GET /v1/models lists those that there are")
        self.errors = [f"model: there is no {model[:200]!r}"]


def speaks_openai(path: str) -> bool:
    """Whether who asks for this path reads OpenAI's errors."""
    return path == PATH or path.startswith(f"{PATH}/")


def openai_error(details: ProblemDetails) -> ErrorAnswer:
    """The same in OpenAI's shape."""
    name = details.type.rsplit(":", 1)[-1]
    kind = TYPES.get(details.status, "invalid_request_error" if details.status < 500 else "server_error")
    parameter = _PARAMETER.match(details.errors[0]) if details.errors else None
    code = CODES.get(name, name.replace("-", "_"))
    return ErrorAnswer(ErrorDetails(details.detail, kind, parameter[1] if parameter else None, code))
