"""How the vectors of a space are stored, and what HNSW orders them by.

halfvec: 2 bytes a dimension, in the column and in the index. vector: 4 bytes. bit: the column is halfvec and the
index is over the signs of the numbers alone, 1 bit a dimension; of what it finds, as many as `ef_search`, the nearest
by the vectors themselves are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from pgvector import HalfVector, Vector
from psycopg import sql

from pgfolio.schema.database.statements import template

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pgfolio.schema.records import Generation, Space


@dataclass(frozen=True, slots=True)
class VectorLayout:
    """`indexed`, `operators` and `nearest` may name `{dimensions}`; `retained` is retained_vectors' column; `column`
    is what the catalog says that the index is over."""

    type: str
    bits: int
    """Of one dimension in the index."""
    indexed: str
    operators: str
    nearest: str
    column: str
    retained: str
    max_dimensions: int
    """That an index of this kind serves."""


QUANTIZED: Final = "binary_quantize({what})::bit({{dimensions}})"
KINDS: Final[Mapping[str, VectorLayout]] = {
    "halfvec": VectorLayout(
        type="halfvec",
        bits=16,
        indexed="embedding",
        operators="halfvec_cosine_ops",
        nearest="embedding <=> %(vector)s::halfvec",
        column="embedding",
        retained="embedding",
        max_dimensions=4000,
    ),
    "vector": VectorLayout(
        type="vector",
        bits=32,
        indexed="embedding",
        operators="vector_cosine_ops",
        nearest="embedding <=> %(vector)s::vector",
        column="embedding",
        retained="full_embedding",
        max_dimensions=2000,
    ),
    "bit": VectorLayout(
        type="halfvec",
        bits=1,
        indexed=f"({QUANTIZED.format(what='embedding')})",
        operators="bit_hamming_ops",
        nearest=f"{QUANTIZED.format(what='embedding')} <~> {QUANTIZED.format(what='%(vector)s::halfvec')}",
        column="(binary_quantize(embedding)::bit({dimensions}))",
        retained="embedding",
        max_dimensions=4000,
    ),
}


def storage_of(space: Space) -> VectorLayout:
    return KINDS[space.storage]


def parts(space: Space) -> dict[str, sql.Composable]:
    """What stands for the placeholders of statements."""
    kind, dimensions = storage_of(space), sql.Literal(space.dimensions)
    return {
        "type": sql.SQL(kind.type),
        "dimensions": dimensions,
        "norm": sql.SQL("vector_norm" if kind.type == "vector" else "l2_norm"),
        "retained": sql.Identifier(kind.retained),
        "indexed": sql.SQL(f"{kind.indexed} {kind.operators}").format(dimensions=dimensions),
        "nearest": sql.SQL(kind.nearest).format(dimensions=dimensions),
    }


def vector_statement(name: str, generation: Generation) -> sql.Composed:
    """The statement, with `{vectors}` standing for the generation's table, `{segment}` and `{index}` for the one that
    new vectors go to and its index, and what depends on how its space is stored."""
    return _composed(name, generation)  # behind a function: `cache` takes arguments of any type


@cache
def _composed(name: str, generation: Generation) -> sql.Composed:
    return template(name).format(
        vectors=sql.Identifier(generation.table),
        segment=sql.Identifier(generation.segment_table),
        index=sql.Identifier(generation.index),
        **parts(generation.space),
    )


@cache
def space_statement(name: str, space: Space) -> sql.Composed:
    """The statement, with what depends on how a space is stored, and no generation's tables."""
    return template(name).format(**parts(space))


def column_bytes(space: Space) -> int:
    """What one vector takes in its row."""
    return space.dimensions * (4 if storage_of(space).type == "vector" else 2)


def value(space: Space, vector: np.ndarray) -> HalfVector | Vector:
    """A vector of shape (dimensions,) as the space's column has it."""
    return Vector(vector) if storage_of(space).type == "vector" else HalfVector(vector)


def scan(space: Space, limit: int, ef_search: int) -> int:
    """How many an index scan must give for `limit` to be chosen from: signs alone put the nearest in no order."""
    return max(limit, ef_search) if space.storage == "bit" else limit


def can_take(space: Space, other: Space) -> bool:
    """Whether stored vectors of another space are as good as this one's model would make them: of the same model, and
    not in half precision where full is wanted."""
    same = (space.provider, space.model, space.dimensions, space.shortened, space.document_prefix)
    theirs = (other.provider, other.model, other.dimensions, other.shortened, other.document_prefix)
    return same == theirs and (storage_of(space).type == "halfvec" or storage_of(other).type == "vector")


EF_SEARCH_MAXIMUM = 1000
"""pgvector's own bound."""
