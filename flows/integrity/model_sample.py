"""Embeds a sample of stored chunks anew, where that costs nothing, and compares: does the model still make the
vectors that are stored? Weights may have been exchanged, or a library's new version reads texts in another way."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from pgfolio.config import models
from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.schema.integrity.findings import Finding
from pgfolio.schema.integrity.sample import sample_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.integrity.sample import StoredVector
    from pgfolio.schema.records import Generation

SAMPLE: Final = 32
"""Chunks of a generation: of vectors of which a tenth is another model's, one is found 97 times in 100."""

MIN_SIMILARITY: Final = 0.98
"""Cosine. Half precision costs 1e-6, other neighbours in a batch of a model that quantises as it goes up to 0.01;
another model's are far below."""


def model_findings(
    reader: Connection, settings: Settings, all_generations: Sequence[Generation]
) -> Iterator[tuple[int, list[Finding]]]:
    """Of each generation whose model is in the process: how many vectors were compared, and what is wrong."""
    for generation in all_generations:
        if not generation.space.asks_server:
            sample = [row for row in sample_texts(reader, generation, SAMPLE) if _is_sound(row)]
            if sample:
                yield _compared(settings, generation, sample)


def _compared(
    settings: Settings, generation: Generation, sample: Sequence[StoredVector]
) -> tuple[int, list[Finding]]:
    space = generation.space
    texts = [space.document_prefix + embedded_text(row.title, row.heading, row.content) for row in sample]
    try:
        model = models.embedding_model(settings, space.provider, space.model, space.dimensions)
        vectors = model.embed(texts).vectors
    except (ConfigError, ModelError) as error:
        reason = Finding("model_unusable", path=space.name, generation_id=generation.id, found=str(error))
        return 0, [reason]
    findings = [
        Finding(
            "vector_outdated",
            source_id=row.source_id,
            source=row.source,
            path=row.path,
            document_id=row.document_id,
            chunk_id=row.chunk_id,
            generation_id=generation.id,
            expected=space.name,
            found=f"{similarity:.2f}",
        )
        for row, vector in zip(sample, vectors, strict=True)
        if (similarity := _similarity(row.vector, vector)) < MIN_SIMILARITY
    ]
    return len(sample), findings


def _is_sound(row: StoredVector) -> bool:
    """Whether its text is the one that was embedded: another is found elsewhere to be wrong."""
    text = embedded_text(row.title, row.heading, row.content)
    return hashlib.sha256(text.encode("utf-8", "replace")).digest() == row.hash


def _similarity(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return 0.0
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0
