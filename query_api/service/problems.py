"""Every error as application/problem+json (RFC 9457): a stable type, what to do, the trace id, and no internals."""

from __future__ import annotations

import logging
import re
import uuid
from math import ceil
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.response import Response

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import (
    FatalModelError,
    ModelError,
    NoAnswerError,
    RejectedInputError,
    TransientError,
)
from pgfolio.config.names import WrongNameError
from pgfolio.query_api.answering.answerer import UnknownPromptError
from pgfolio.query_api.auth.guard import (
    ForbiddenError,
    RateLimitExceededError,
    ReadOnlyServerError,
    UnauthenticatedError,
)
from pgfolio.query_api.observability.request_log import fault_of
from pgfolio.query_api.observability.timings import record_fault
from pgfolio.query_api.originals.original import OriginalChangedError, OriginalMissingError
from pgfolio.query_api.originals.pictures import NoSuchPageError, NotDrawnError
from pgfolio.query_api.retrieval.filter_parser import WrongFilterError
from pgfolio.query_api.retrieval.query import UnknownCollectionError
from pgfolio.query_api.retrieval.retriever import SwitchingError
from pgfolio.query_api.service.body_budget import TooMuchUnderWayError
from pgfolio.query_api.service.contracts import ProblemDetails
from pgfolio.query_api.service.json_body import UnreadableBodyError
from pgfolio.query_api.service.openai.errors import UnknownModelError, openai_error, speaks_openai
from pgfolio.query_api.service.strict_body import CompressedBodyError, WrongFieldError
from pgfolio.query_api.service.upload_metadata import TooMuchMetadataError
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.operations.api_keys import WrongKeyError
from pgfolio.schema.operations.push_inbox import NoSuchCollectionError, WhichCollectionError
from pgfolio.schema.search.turns import BusyError

if TYPE_CHECKING:
    from litestar import Request
    from litestar.types import Message, Scope

LOG = logging.getLogger("query_api")
MEDIA_TYPE = "application/problem+json"
HEADER = b"x-trace-id"
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Answers are data for who asked, never a page."""

PREFIX = "urn:pgfolio:problem:"


class UnknownDocumentError(Exception):
    """No document has this id."""

    def __init__(self, document_id: int) -> None:
        super().__init__(f"there is no document {document_id}: GET /documents lists those that there are")


class FromFolderError(Exception):
    """A document that is not ours to delete."""


class PushFailedError(Exception):
    """What was pushed could not be made a document of; `url` goes on telling why."""

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message)
        self.url = url


class WrongPushError(Exception):
    """A push that cannot be read."""


class UnknownTraceError(Exception):
    """No trace has this id, or it is not for whoever asks."""


class UnknownKeyError(Exception):
    """No key in use has this id, or it is not for whoever asks."""


class UnknownSourceError(Exception):
    """No source has this name, or it is not for whoever asks."""


class UnknownRequestError(Exception):
    """No request to the flows has this id, or it is not for whoever asks."""


class PushedSourceError(Exception):
    """What is asked of a source is for folders only."""


class WrongCursorError(Exception):
    """A cursor that no page has given."""


class TookTooLongError(Exception):
    """A request was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer took longer than {seconds:g} s (PGFOLIO_API__TIMEOUT): ask for less")


class NotReadyError(Exception):
    """Nothing can be searched yet; the message says what to do."""


PROBLEM_OF_ERROR: dict[type[Exception], tuple[str, int, str]] = {
    UnknownCollectionError: ("unknown-collection", 404, "Unknown collection"),
    UnknownTraceError: ("unknown-trace", 404, "Unknown trace"),
    UnknownDocumentError: ("unknown-document", 404, "Unknown document"),
    OriginalMissingError: ("original-missing", 404, "The original is not here"),
    OriginalChangedError: ("original-changed", 409, "The original has changed"),
    NoSuchPageError: ("unknown-page", 404, "Unknown page"),
    NotDrawnError: ("not-drawn", 409, "The page cannot be drawn"),
    UnknownSourceError: ("unknown-source", 404, "Unknown source"),
    UnknownRequestError: ("unknown-request", 404, "Unknown request"),
    PushedSourceError: ("from-pushes", 409, "It holds what was pushed"),
    UnknownKeyError: ("unknown-key", 404, "Unknown key"),
    WrongKeyError: ("wrong-key", 400, "The key cannot be made"),
    NoSuchCollectionError: ("unknown-collection", 404, "Unknown collection"),
    WhichCollectionError: ("which-collection", 400, "Which collection"),
    FromFolderError: ("from-folder", 409, "It comes from a folder"),
    PushFailedError: ("push-failed", 422, "The document could not be made"),
    WrongPushError: ("invalid-request", 400, "Invalid request"),
    WrongNameError: ("invalid-request", 400, "Invalid request"),
    TooMuchMetadataError: ("too-large", 413, "Too large"),
    UnknownPromptError: ("unknown-prompt", 400, "Unknown prompt"),
    WrongFieldError: ("invalid-request", 400, "Invalid request"),
    UnknownModelError: ("unknown-model", 404, "Unknown model"),
    UnreadableBodyError: ("invalid-request", 400, "Invalid request"),
    CompressedBodyError: ("unsupported-media-type", 415, "Unsupported media type"),
    WrongFilterError: ("wrong-filter", 400, "Wrong filter"),
    WrongCursorError: ("wrong-cursor", 400, "Wrong cursor"),
    NotReadyError: ("not-ready", 503, "Not ready"),
    UnauthenticatedError: ("unauthenticated", 401, "Not authenticated"),
    ForbiddenError: ("forbidden", 403, "Not allowed"),
    ReadOnlyServerError: ("read-only", 403, "This server only reads"),
    RateLimitExceededError: ("too-many-requests", 429, "Too many requests"),
    BusyError: ("busy", 503, "Too busy"),
    TooMuchUnderWayError: ("busy", 503, "Too busy"),
    TookTooLongError: ("took-too-long", 503, "Took too long"),
    SwitchingError: ("switching", 503, "The active space is changing"),
    DatabaseError: ("database-unavailable", 503, "The database is not available"),
    TransientError: ("model-unavailable", 503, "The model server is not available"),
    RejectedInputError: ("model-refused", 502, "The model server refused"),
    NoAnswerError: ("model-gave-no-answer", 502, "The model gave no answer"),
    FatalModelError: ("model-misconfigured", 503, "The model cannot be used"),
    ConfigError: ("misconfigured", 503, "A setting is missing"),
}
"""Errors whose message is made for the user: type, status, title."""

HTTP = {
    400: ("invalid-request", "Invalid request"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("too-large", "Too large"),
}


def trace_id(scope: Scope) -> str:
    """The request's id, made when first asked for."""
    state: dict[str, Any] = scope.setdefault("state", {})
    if "trace_id" not in state:
        state["trace_id"] = uuid.uuid4().hex
    return str(state["trace_id"])


async def add_headers(message: Message, scope: Scope) -> None:
    """Every answer carries the trace id and what keeps browsers from making more of it than data, unless it says
    itself what they may."""
    if message["type"] == "http.response.start":
        own = {name.lower() for name, _ in message["headers"]}
        security = [header for header in SECURITY_HEADERS if header[0] not in own]
        message["headers"] = [*message["headers"], (HEADER, trace_id(scope).encode()), *security]


def problem(error: Exception, scope: Scope) -> tuple[ProblemDetails, dict[str, str]]:
    """The problem that an error is, and the headers that belong to it."""
    trace = trace_id(scope)
    for kind in type(error).__mro__:
        if kind in PROBLEM_OF_ERROR:
            name, status, title = PROBLEM_OF_ERROR[kind]
            errors = getattr(error, "errors", [])
            details = ProblemDetails(PREFIX + name, title, status, str(error), trace, errors)
            return details, _headers(error, status)
    if isinstance(error, ModelError):
        return ProblemDetails(PREFIX + "model-unavailable", "The model failed", 503, str(error), trace), {}
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _of_http(error, scope, trace), dict(error.headers or {})
    if isinstance(error, UnicodeDecodeError):  # nothing but a request's body is decoded
        detail = "the request cannot be read: it is not UTF-8"
        return ProblemDetails(PREFIX + HTTP[400][0], HTTP[400][1], 400, detail, trace), {}
    if isinstance(error, RecursionError):  # nor is anything else as deep
        detail = "the request cannot be read: its JSON has too many levels"
        return ProblemDetails(PREFIX + HTTP[400][0], HTTP[400][1], 400, detail, trace), {}
    fault = fault_of(error)
    if not record_fault(fault):
        LOG.error("trace %s: %s", trace, fault)
    detail = f"this is a fault of the server; its log says more under the trace id {trace}"
    return ProblemDetails(PREFIX + "internal", "Internal error", 500, detail, trace), {}


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The handler of all exceptions."""
    details, headers = problem(error, request.scope)
    body, media_type = encoded_problem(details, request.scope)
    return Response(body, status_code=details.status, media_type=media_type, headers=headers)


def encoded_problem(details: ProblemDetails, scope: Scope) -> tuple[bytes, str]:
    """A problem in the shape that whoever asks can read, and its media type."""
    if speaks_openai(scope.get("path", "")):
        return msgspec.json.encode(openai_error(details)), "application/json"
    return msgspec.json.encode(details), MEDIA_TYPE


def _of_http(error: HTTPException, scope: Scope, trace: str) -> ProblemDetails:
    name, title = HTTP.get(error.status_code, (f"http-{error.status_code}", f"Status {error.status_code}"))
    where = f"{scope.get('method', '')} {scope.get('path', '')}"
    errors: list[str] = []
    if isinstance(error, NotFoundException):
        detail = f"there is no {where}: /schema lists the routes"
    elif isinstance(error, MethodNotAllowedException):
        served = {name.lower(): value for name, value in (error.headers or {}).items()}.get("allow", "")
        methods = sorted(set(re.findall(r"[A-Z]+", served)) - {"OPTIONS"})
        detail = f"{where} is not served, but {' and '.join(methods)}: /schema lists the routes"
    elif error.status_code == 413:
        setting = "PUSH_MB" if scope.get("path") == "/documents" else "BODY_KB"
        detail = f"the request's body is too large: PGFOLIO_API__MAX_{setting} is the most that is taken"
    elif isinstance(error.extra, list) and error.extra:
        errors = [_field(item) for item in error.extra]
        detail = f"correct the request: {'; '.join(errors)}"
    else:
        detail = f"the request cannot be read: {_unquoted(error.detail)}"
    return ProblemDetails(
        type=PREFIX + name,
        title=title,
        status=error.status_code,
        detail=detail,
        trace_id=trace,
        errors=errors,
    )


def _field(item: Any) -> str:
    """One of litestar's findings as `field: what is wrong`."""
    if not isinstance(item, dict):
        return str(item)
    message = str(item.get("message", ""))
    return f"{item['key']}: {message}" if item.get("key") else message


def _unquoted(detail: str) -> str:
    return " ".join(detail.split())[:300]


def _headers(error: Exception, status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="pgfolio"'}
    if isinstance(error, PushFailedError):
        return {"Location": error.url}
    if isinstance(error, CompressedBodyError):
        return {"Accept-Encoding": "identity"}
    if status not in {429, 503} or isinstance(error, (ConfigError, FatalModelError)):
        return {}
    seconds = getattr(error, "retry_after", None)
    return {"Retry-After": str(max(1, ceil(seconds)) if seconds else 1)}
