"""OpenAI's Batch API for embeddings: a file of lines is uploaded and answered within a day, at half the price.

One request each, as everywhere here; waiting, storing and trying again are for flows/batches. What answers look like
is read by ourselves, as in openai.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

import openai

from pgfolio.config.models.batch_limits import EXPIRED
from pgfolio.config.models.dialect import embedding_dialect
from pgfolio.config.models.embedding_answer import single_vector
from pgfolio.config.models.endpoint import endpoint
from pgfolio.config.models.failures import model_errors, own_words
from pgfolio.config.models.protocols import BadAnswerError, FatalModelError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from pgfolio.config.models.endpoint import Endpoint
    from pgfolio.config.settings import Settings

OPENAI: Final = "https://api.openai.com/v1"
ROUTE: Final = "/v1/embeddings"
KEY: Final = "pgfolio"
"""Of the batch's metadata, where our own name of it stands."""

FAILED: Final = frozenset({"failed"})
ENDED: Final = frozenset({"completed", "expired", "cancelled"})
"""States in which there is something to be read, or nothing more to come."""

PAGE: Final = 100
CLOCK_SECONDS: Final = 3600.0
"""How far the server's clock may be from ours."""


@dataclass(frozen=True, slots=True)
class ServerBatch:
    """What the server says of a batch. `key`: ours; `codes` and `said`: why all of it failed."""

    id: str
    key: str
    status: str
    created_at: float
    output_file: str | None
    error_file: str | None
    completed: int
    codes: frozenset[str]
    said: str

    @property
    def has_failed(self) -> bool:
        """Nothing of it was done, nor is to be paid."""
        return self.status in FAILED

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class BatchLine:
    """The answer to one line: a vector of shape (dimensions,), float32, with the tokens billed, or why there is
    none."""

    custom_id: str
    vector: np.ndarray | None = None
    tokens: int = 0
    code: str = ""
    said: str = ""

    @property
    def expired(self) -> bool:
        """The server did not come to it."""
        return self.code == EXPIRED


class BatchApi:
    """Of one model at one server."""

    def __init__(
        self, server: Endpoint, model: str, dimensions: int, *, timeout: float, shorten: bool = False
    ) -> None:
        self.place = _place(server)
        """The server, for people and to be compared: without its key, which may be changed meanwhile."""
        self._server = server
        self._client = openai.OpenAI(**server.client_options(timeout))
        self._model = model
        self._dimensions = dimensions
        self._what = f"the Batch API for {model!r}"
        self._parameters = embedding_dialect(dimensions if shorten else None).parameters()

    def line(self, custom_id: str, text: str) -> bytes:
        """Of the file to upload."""
        body = {"model": self._model, "input": text, **self._parameters}
        request = {"custom_id": custom_id, "method": "POST", "url": ROUTE, "body": body}
        return json.dumps(request, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    def upload(self, file: BinaryIO) -> str:
        """The file's id at the server. Raises a ModelError."""
        with self._errors():
            try:
                uploaded = self._client.files.create(
                    file=("batch.jsonl", file), purpose="batch", extra_headers=self._server.headers
                )
            except openai.NotFoundError as error:
                raise FatalModelError(f"{self.place} has no Batch API: leave out --batch") from error
            return _text(uploaded.id, self._what)

    def create(self, file_id: str, key: str) -> ServerBatch:
        """Hand in what was uploaded. Raises a ModelError."""
        with self._errors():
            made = self._client.batches.create(
                input_file_id=file_id,
                endpoint=ROUTE,
                completion_window="24h",
                metadata={KEY: key},
                extra_headers=self._server.headers,
            )
            return self._read(made)

    def retrieve(self, batch_id: str) -> ServerBatch | None:
        """None: the server does not know it. Raises a ModelError."""
        with self._errors():
            try:
                batch = self._client.batches.retrieve(batch_id, extra_headers=self._server.headers)
            except openai.NotFoundError:
                return None
            return self._read(batch)

    def listed(self, since: float) -> Iterator[ServerBatch]:
        """Batches with a key of ours that were made since a moment, the newest first. Raises a ModelError."""
        with self._errors():
            for batch in self._client.batches.list(limit=PAGE, extra_headers=self._server.headers):
                read = self._read(batch)
                if read.created_at < since - CLOCK_SECONDS:
                    return
                if read.key:
                    yield read

    def answers(self, file_id: str) -> Iterator[BatchLine]:
        """The lines of an output or error file, as they come. Raises a ModelError, also in their middle."""
        with (
            self._errors(),
            self._client.files.with_streaming_response.content(
                file_id, extra_headers=self._server.headers
            ) as response,
        ):
            for text in response.iter_lines():
                if text.strip():
                    yield self._answer(text)

    def close(self) -> None:
        self._client.close()

    def _answer(self, text: str) -> BatchLine:
        try:
            line = json.loads(text)
            custom_id = line["custom_id"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise TransientError(
                f"{self._what}: a line of its answers cannot be read: it was cut off"
            ) from error
        response, failure = _mapping(line.get("response")), line.get("error")
        body = _mapping(response.get("body"))
        status = response.get("status_code")
        failure = failure or body.get("error") or (None if status in {None, 200} else body)
        if failure is not None or not response:
            code = _mapping(failure).get("code")
            return BatchLine(
                custom_id, code=str(code or status or "error"), said=own_words(failure, self._server.key)
            )
        try:
            vector, tokens = single_vector(body, self._dimensions, self._model)
        except BadAnswerError as error:
            return BatchLine(custom_id, tokens=error.tokens or 0, code="bad_answer", said=str(error))
        return BatchLine(custom_id, vector, tokens)

    def _read(self, batch: Any) -> ServerBatch:
        """Fields by their names: what a server sends is not always what the SDK's types foresee."""
        errors = getattr(getattr(batch, "errors", None), "data", None) or []
        counts = getattr(batch, "request_counts", None)
        said = "; ".join(str(getattr(error, "message", "") or "") for error in errors[:3])
        return ServerBatch(
            id=_text(getattr(batch, "id", None), self._what),
            key=str(_mapping(getattr(batch, "metadata", None)).get(KEY) or ""),
            status=str(getattr(batch, "status", "")),
            created_at=float(getattr(batch, "created_at", 0) or 0),
            output_file=getattr(batch, "output_file_id", None) or None,
            error_file=getattr(batch, "error_file_id", None) or None,
            completed=int(getattr(counts, "completed", 0) or 0),
            codes=frozenset(str(getattr(error, "code", "")) for error in errors),
            said=own_words(said, self._server.key),
        )

    def _errors(self) -> Any:
        return model_errors(self._what, self._server.key)


def open_batch_api(settings: Settings, model: str, dimensions: int, *, shorten: bool = False) -> BatchApi:
    """A client of the settings' server. Raises ConfigError."""
    role = settings.embedding
    return BatchApi(endpoint(settings, role, model), model, dimensions, timeout=role.timeout, shorten=shorten)


def _place(server: Endpoint) -> str:
    parts = urlsplit(server.base_url or OPENAI)
    return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, what: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise BadAnswerError(f"{what}: the server answered without an id: check OPENAI_BASE_URL")


__all__ = ["BatchApi", "BatchLine", "ServerBatch", "open_batch_api"]
