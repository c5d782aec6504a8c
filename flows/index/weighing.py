"""Measures, without labels, what a model's similarities should count in hybrid search on the corpus (strength.py),
and keeps it with the generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.embedding.budget import BudgetSpentError
from pgfolio.flows.index.strength import Vectors, fragment, strength, weight
from pgfolio.schema.vectors import hnsw, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.flows.index.strength import Fragment
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Space

FRAGMENTS = 64
"""Two texts of 16 words each: of 1,000 chunks about a hundredth of their tokens."""

MIN_FRAGMENTS = 40
"""With 22 fragments one model on one corpus got weights from 0.2 to 1.4."""

MIN_VECTORS = 200
"""Of fewer the texts to be embedded would be more than a twentieth."""

GROWTH_FACTOR = 2.0
"""It is measured again after so much growth."""


def weigh(run: RunContext, connection: Connection, generation: Generation, *, anew: bool = False) -> None:
    """Where there are enough vectors, and twice as many as at the last measurement, or it is to be done `anew`. A
    model that cannot be asked, or is not to be paid for it, keeps the weight that it had. Nothing is measured where
    the settings have a weight. Commits."""
    if is_ruler(generation.space) or (run.settings.search.vector_weight != "auto" and not anew):
        return
    vectors = hnsw.rows(connection, generation)
    last = weights.weighed_vectors(connection, generation)
    measured_lately = last is not None and vectors < last * GROWTH_FACTOR and not anew
    if vectors < MIN_VECTORS or measured_lately:
        connection.commit()
        return
    measured = measure(run, connection, generation)
    if measured is None:
        return
    weights.save(connection, generation, measured, vectors)
    connection.commit()
    if measured == 0:
        run.report.note(
            f"{generation.space.name} hardly tells the texts of this corpus apart: hybrid searches go by words alone "
            "(search.vector_weight sets another weight)"
        )


def is_ruler(space: Space) -> bool:
    """The bundled model has weight 1: it is what others are compared with."""
    from pgfolio.config.models.wordllama import DIMENSIONS  # noqa: PLC0415 -- a no-op needs no model

    return space.provider == "local" and space.dimensions == DIMENSIONS[0]


def measure(run: RunContext, connection: Connection, generation: Generation) -> float | None:
    """The weight; None where there are too few texts or the model cannot be asked, which the report then says. Ends
    the transaction."""
    sampled = weights.sample_embedded(connection, generation, 2 * FRAGMENTS)
    connection.commit()
    fragmented = [(made, *row) for row in sampled if (made := fragment(row[0]))][:FRAGMENTS]
    if len(fragmented) < MIN_FRAGMENTS:
        return None
    run.progress.stage("weighing the model")
    outcomes = _embedded(run, generation, [made for made, *_ in fragmented])
    embedded = [
        (fragment_vector, following_vector, *row)
        for fragment_vector, following_vector, row in zip(*outcomes, fragmented, strict=True)
        if isinstance(fragment_vector, np.ndarray) and isinstance(following_vector, np.ndarray)
    ]
    if len(embedded) < MIN_FRAGMENTS:
        return None
    with run.report.timed("index"):
        own_fragments, own_following, fragments, texts, chunks = zip(*embedded, strict=True)
        model = strength(Vectors(np.array(own_fragments), np.array(own_following), np.array(chunks)))
        return weight(model, strength(_ruler(fragments, texts)))


def _embedded(
    run: RunContext, generation: Generation, fragments: Sequence[Fragment]
) -> tuple[Sequence[object], Sequence[object]]:
    """Of the fragments as questions and of what follows them as documents; None of each where the model cannot be
    asked."""
    space = generation.space
    texts = [space.query_prefix + each.text for each in fragments]
    texts += [space.document_prefix + each.following for each in fragments]
    try:
        with run.embedder(generation) as embedder, run.report.timed("embed"):
            outcomes = embedder.embed(texts, run.tokenizer.count(texts), lambda *_: None)
    except (ModelError, ConfigError, BudgetSpentError) as error:
        run.report.note(f"{error}: what the model's similarities should count was not measured")
        return [None] * len(fragments), [None] * len(fragments)
    return outcomes[: len(fragments)], outcomes[len(fragments) :]


def _ruler(fragments: Sequence[Fragment], texts: Sequence[str]) -> Vectors:
    from pgfolio.config.models.wordllama import local_model  # noqa: PLC0415 -- a no-op needs no model

    made = ([each.text for each in fragments], [each.following for each in fragments], texts)
    return Vectors(*(local_model().embed(each).vectors for each in made))
