"""Gives chunks that lack a vector theirs: a stored one of the same text, or else the model's, which is asked once for
each text. Each batch is stored in a transaction of its own; none is open while the model works.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flows.chunk import embedded_text
from flows.embed import Postponed, Refusal
from flows.overlap import ahead, workers
from schema import repair as mending
from schema import vectors
from schema.connect import connect
from schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.embed import Answer, Embedder
    from flows.run import Run
    from schema.connect import Connection
    from schema.records import Generation
    from schema.repair import Text

BATCH = 500


def fill(run: Run, connection: Connection, generation: Generation) -> None:
    """Counts, and texts that the model refuses, go into the run's report. Raises ModelError."""
    run.progress.stage("giving chunks their vectors")
    _reuse(run, connection, generation)
    texts = mending.count_texts_without_vector(connection, generation)
    connection.commit()
    if texts:
        run.progress.begin(texts)
        _embed_all(run, connection, generation)
        _reuse(run, connection, generation)


def _reuse(run: Run, connection: Connection, generation: Generation) -> None:
    for count in mending.add_stored_vectors(connection, generation, BATCH):
        run.report.chunks.reused += count


def _embed_all(run: Run, connection: Connection, generation: Generation) -> None:
    with (
        run.embedder(generation) as embedder,
        connect(run.conninfo, autocommit=True) as reader,
        workers(embedder.in_flight, "embed") as pool,
    ):
        work = partial(_embed, embedder, generation.space.document_prefix)
        batches = mending.texts_without_vector(reader, generation, BATCH)
        try:
            for answers in ahead(pool, work, batches, embedder.in_flight + 1):
                _add(run, connection, generation, answers)
        finally:
            embedder.stop()


def _embed(embedder: Embedder, prefix: str, batch: Sequence[Text]) -> list[tuple[Text, Answer]]:
    texts = [prefix + embedded_text(text.title, text.heading, text.content) for text in batch]
    return list(zip(batch, embedder.embed(texts, [text.tokens for text in batch]), strict=True))


def _add(
    run: Run, connection: Connection, generation: Generation, answers: Sequence[tuple[Text, Answer]]
) -> None:
    given = [
        (text.chunk_id, text.collection_id, answer)
        for text, answer in answers
        if not isinstance(answer, Refusal | Postponed)
    ]
    with connection.transaction():
        vectors.add_vectors(connection, generation, given)
    connection.commit()
    for text, answer in answers:
        if isinstance(answer, Refusal):
            run.report.problem(Problem(f"chunk {text.chunk_id}", "embed", answer.reason))
    run.report.chunks.embedded += len(given)
    run.progress.advance(len(answers), len(given))
