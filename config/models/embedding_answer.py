"""Reads a server's answer with embeddings: which vector belongs to which input, and what was billed."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pgfolio.config.models.protocols import BadAnswerError, Embeddings, FatalModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBERS: Final = frozenset({int, float})
_COUNTS: Final = ("total_tokens", "prompt_tokens")
_SPECIAL_TOKENS: Final = 64
"""Of one input, that a model adds to it."""


def embeddings_of(body: Mapping[str, Any], texts: Sequence[str], dimensions: int, model: str) -> Embeddings:
    """Vectors of shape (inputs, dimensions), in the order of the inputs. Raises BadAnswerError, FatalModelError."""
    tokens = _billed(body.get("usage"), texts)
    rows = _in_order(body.get("data"), len(texts), model, tokens)
    vectors = [_vector(row.get("embedding")) for row in rows]
    lengths = {len(vector) for vector in vectors if vector is not None}
    if lengths and dimensions not in lengths:
        raise _other_dimensions(model, sorted(lengths), dimensions)
    absent = np.full(dimensions, math.nan, dtype=np.float32)
    matrix = np.array(
        [absent if vector is None or len(vector) != dimensions else vector for vector in vectors],
        dtype=np.float32,
    ).reshape(len(texts), dimensions)
    answer = Embeddings(matrix, tokens)
    if len(lengths) > 1:
        raise BadAnswerError(f"{model!r} answered vectors of different lengths", tokens, answer)
    if any(vector is None for vector in vectors):
        raise BadAnswerError(f"{model!r} answered what is no vector of numbers", tokens, answer)
    if not np.isfinite(matrix).all():
        raise BadAnswerError(f"{model!r} answered a vector with NaN or infinity", tokens, answer)
    return answer


def single_vector(body: Mapping[str, Any], dimensions: int, model: str) -> tuple[np.ndarray, int]:
    """Of a single input: its vector of shape (dimensions,), float32, and the tokens billed, 0 where the server does
    not say. Raises BadAnswerError, FatalModelError."""
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    tokens = next((n for name in _COUNTS if type(n := counts.get(name)) is int and n > 0), 0)
    vector = _vector(_in_order(body.get("data"), 1, model, tokens)[0].get("embedding"))
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        raise BadAnswerError(f"{model!r} answered what is no vector of numbers", tokens)
    if len(vector) != dimensions:
        raise _other_dimensions(model, [len(vector)], dimensions)
    return vector, tokens


def dimensions_of(body: Mapping[str, Any], model: str) -> int:
    """Of the vector of a single input. Raises BadAnswerError."""
    vector = _vector(_in_order(body.get("data"), 1, model, None)[0].get("embedding"))
    if vector is None or not len(vector):
        raise BadAnswerError(f"{model!r} answered without a vector")
    return len(vector)


def _other_dimensions(model: str, lengths: Sequence[int], dimensions: int) -> FatalModelError:
    return FatalModelError(
        f"{model!r} answered vectors of {', '.join(map(str, lengths))} dimensions where {dimensions} "
        "were expected: set PGFOLIO_EMBEDDING__DIMENSIONS and run `pgfolio reembed`"
    )


def _in_order(data: object, inputs: int, model: str, tokens: int | None) -> list[Mapping[str, Any]]:
    """By their index; where servers send none, or the same for all, their order counts. What is neither is
    refused: no text may be given another's vector."""
    rows: list[Mapping[str, Any]] = (
        [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    )
    if len(rows) != inputs or not isinstance(data, list) or len(data) != inputs:
        count = len(data) if isinstance(data, list) else "no"
        raise BadAnswerError(f"{model!r} answered {count} vectors to {inputs} inputs", tokens)
    places = [row.get("index") for row in rows]
    known = [place for place in places if type(place) is int]
    if sorted(known) == list(range(inputs)):
        return [row for _, row in sorted(zip(known, rows, strict=True), key=lambda pair: pair[0])]
    if not known or (len(known) == inputs and len(set(known)) == 1):
        return rows
    raise BadAnswerError(f"{model!r} answered vectors whose index does not say whose they are", tokens)


def _vector(value: object) -> np.ndarray | None:
    """None: no vector of numbers."""
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return None
        return np.frombuffer(raw, dtype="<f4") if raw and len(raw) % 4 == 0 else None
    if (
        isinstance(value, list) and len(value) == 1 and isinstance(value[0], list)
    ):  # one for each pooled token
        value = value[0]
    if not isinstance(value, list) or not value or not _NUMBERS.issuperset(map(type, value)):
        return None
    try:
        with np.errstate(over="ignore"):
            return np.array(value, dtype=np.float64).astype(np.float32)
    except OverflowError:  # an integer of hundreds of digits
        return None


def _billed(usage: object, texts: Sequence[str]) -> int | None:
    """Tokens by the server's count; None where it sends none, or a number that no tokenizer makes of these texts."""
    counts = usage if isinstance(usage, dict) else {}
    bound = sum(2 * len(text.encode("utf-8", "surrogatepass")) + _SPECIAL_TOKENS for text in texts)
    for name in _COUNTS:
        count = counts.get(name)
        if type(count) is int and 0 < count <= bound:
            return count
    return None
