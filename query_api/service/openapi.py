"""The OpenAPI document with examples: requests, what was answered to them, and the problems that there are.

examples.json is made by `python -m tests.record_examples`: each request was sent to an API that serves the tests'
library, and each answer came from there.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litestar.openapi.plugins import JsonRenderPlugin

from pgfolio.config.models.protocols import RejectedInputError
from pgfolio.query_api.auth.guard import ForbiddenError, RateLimitExceededError, UnauthenticatedError
from pgfolio.query_api.originals.original import OriginalMissingError
from pgfolio.query_api.originals.pictures import NoSuchPageError
from pgfolio.query_api.retrieval.query import UnknownCollectionError
from pgfolio.query_api.service.openai.errors import UnknownModelError, speaks_openai
from pgfolio.query_api.service.problems import (
    MEDIA_TYPE,
    FromFolderError,
    PushFailedError,
    UnknownDocumentError,
    UnknownKeyError,
    UnknownRequestError,
    UnknownSourceError,
    UnknownTraceError,
    WrongCursorError,
    encoded_problem,
    problem,
)
from pgfolio.query_api.service.strict_body import CompressedBodyError, WrongFieldError
from pgfolio.query_api.service.upload_metadata import TooMuchMetadataError
from pgfolio.schema.operations.api_keys import WrongKeyError
from pgfolio.schema.search.turns import BusyError

if TYPE_CHECKING:
    from litestar import Request

FILE: Final = Path(__file__).with_name("examples.json")

TRACE_ID: Final = "3f0c9a7be1d24c65b8f2a90d17e4c6a8"

PROBLEMS: Final[dict[int, Exception]] = {
    401: UnauthenticatedError("send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`"),
    403: ForbiddenError("this needs a key of scope 'write', and yours has 'read'"),
    409: FromFolderError("it comes from the folder 'manual': delete 'guides/retries.md' there, then sync"),
    413: TooMuchMetadataError(
        "the metadata has 70,211 bytes as JSON, and a document may have 65,536: put long texts into the content"
    ),
    415: CompressedBodyError("the request's body is compressed (`Content-Encoding: gzip`): send it as it is"),
    422: PushFailedError("no text could be read: the file is encrypted", "/documents/5"),
    429: RateLimitExceededError(3),
    500: RuntimeError(),
    502: RejectedInputError("the model server refused the question: it is longer than its model takes"),
    503: BusyError(2),
}
"""By status, where the route does not tell."""

MISSING: Final[dict[str, Exception]] = {
    "/documents": UnknownCollectionError("there is no collection 'atlantis'"),
    "/documents/{document_id}": UnknownDocumentError(17),
    "/facets": UnknownCollectionError("there is no collection 'atlantis'"),
    "/keys/{key_id}": UnknownKeyError("there is no key 7 in use: GET /keys lists those that there are"),
    "/documents/{document_id}/original": OriginalMissingError(
        "the original is not where this server could read it: it was moved or deleted since the last sync, or its "
        "folder is on another machine"
    ),
    "/documents/{document_id}/pages/{page}": NoSuchPageError("there is no page 7: it has 3"),
    **dict.fromkeys(
        ("/sources/{name}/sync", "/sources/{name}/approve", "/sources/{name}/forget"),
        UnknownSourceError("there is no source 'atlantis': GET /status lists those that there are"),
    ),
    "/requests/{request_id}": UnknownRequestError(
        "there is no request 17: GET /requests lists those that there are"
    ),
    "/traces/{id}": UnknownTraceError("there is no trace with this id: it may have been kept long enough"),
    "/search": UnknownCollectionError("there is no collection 'atlantis'"),
    "/ask": UnknownCollectionError("there is no collection 'atlantis'"),
    "/v1/models/{model}": UnknownModelError("pgfolio/atlantis"),
    "/v1/chat/completions": UnknownModelError("pgfolio/atlantis"),
    "/v1/embeddings": UnknownModelError("pgfolio/atlantis"),
    "/v1/vector_stores/{collection}/search": UnknownCollectionError("there is no collection 'atlantis'"),
}
INVALID: Final[dict[str, Exception]] = {
    "get /documents": WrongCursorError("take the cursor from `next` of the page before, or leave it out"),
    "post /documents": WrongFieldError("there is no field `text`: it is called `content`"),
    "post /keys": WrongKeyError(
        "there is no collection 'atlantis': `pgfolio status` shows those that there are"
    ),
    "post /sources/{name}/approve": WrongFieldError("`count` is missing"),
    "post /search": WrongFieldError("there is no field `top_k`: it is called `limit`"),
    "post /v1/chat/completions": WrongFieldError("`messages` is missing"),
    "post /v1/embeddings": WrongFieldError("`input` is missing"),
    "post /v1/vector_stores/{collection}/search": WrongFieldError("`query` is missing"),
    "post /ask": WrongFieldError("there is no field `query`: it is called `question`"),
}


class ExamplesPlugin(JsonRenderPlugin):
    """The document as JSON."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, with_examples(json.loads(super().render(request, openapi_schema))))


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The same, with examples of requests, answers and problems put into it."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            recorded = _recorded().get(f"{method.upper()} {path}", {})
            for parameter in operation.get("parameters", []):
                if parameter["name"] in recorded.get("parameters", {}):
                    parameter["example"] = recorded["parameters"][parameter["name"]]
            if "body" in recorded:
                content = operation["requestBody"]["content"]["application/json"]
                content["examples"] = {"example": {"value": recorded["body"]}}
            for status, response in operation["responses"].items():
                _add_answer(response, recorded.get("answers", {}).get(status, {}))
                _add_problem(response, int(status), method, path)
    return document


def _add_answer(response: dict[str, Any], answers: dict[str, Any]) -> None:
    for media_type, content in response.get("content", {}).items():
        if media_type in answers:
            content["example"] = answers[media_type]


def _add_problem(response: dict[str, Any], status: int, method: str, path: str) -> None:
    media_type = "application/json" if speaks_openai(path) else MEDIA_TYPE
    content = response.get("content", {}).get(media_type)
    error = {404: MISSING.get(path), 400: INVALID.get(f"{method} {path}")}.get(status, PROBLEMS.get(status))
    if content is not None and error is not None:
        scope: Any = {"state": {"trace_id": TRACE_ID}, "path": path}
        content["example"] = json.loads(encoded_problem(problem(error, scope)[0], scope)[0])


@cache
def _recorded() -> dict[str, Any]:
    """By method and path: `parameters`, `body`, and `answers` by status and media type."""
    recorded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return recorded
