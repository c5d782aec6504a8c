"""The part of a move to another space in which the texts that lack a vector are handed in at half the price."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from pgfolio.flows.batches.choice import MIN_TEXTS, batch_mode, offers_batches
from pgfolio.flows.batches.lines import BatchText
from pgfolio.flows.batches.phase import BatchPhase
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.reembedding.backfill import BATCH_TEXTS, PAGE_CHUNKS
from pgfolio.flows.reembedding.target import reembed_command
from pgfolio.flows.run.sample import SAMPLE_TEXTS
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import batches, missing, reuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.run.context import RunContext
    from pgfolio.flows.run.options import Step
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

STEP: Final = "hand in at half the price"


class HalfPriceBackfill:
    """Of one move."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._mode = batch_mode(run.settings, run.options)

    @property
    def waiting_reason(self) -> str:
        return (
            f"{self._run.report.batch.get('waiting', 0):,} texts wait for vectors that are handed in at half the "
            f"price: the old space stays; `{reembed_command(self._run.settings)} --batch` waits for them, or run "
            "it again later"
        )

    def execute(self, connection: Connection, generation: Generation, step: Step) -> bool:
        """True: vectors are still to come from batches, and the move goes on when they are there. Raises a ModelError
        or ConfigError."""
        if self._mode == "never" or not offers_batches(generation.space):
            return False
        totals = batches.totals(connection, batches.space_id(connection, generation.space))
        connection.commit()
        if self._mode == "take" and not (totals.batches or totals.returned):
            return False
        return step(STEP, self.hand_in, connection, generation)

    def hand_in(self, connection: Connection, generation: Generation) -> bool:
        for give_stored in (reuse.take, reuse.place_stored):  # of the same text: it is free
            for placed in give_stored(connection, generation, PAGE_CHUNKS):
                self._run.report.chunks.reused += placed
        texts = partial(self._texts, generation)
        with BatchPhase(self._run, generation) as phase:
            if self._mode == "wait":
                phase.until_done(texts)
            elif self._mode == "hand_in":
                phase.hand_in(texts, MIN_TEXTS)
            else:
                phase.take_ready()
                batches.forget_texts(connection, phase.space_id, "returned")  # asked for directly
                connection.commit()
            return phase.is_waiting()

    def forget_failed(self, connection: Connection, generation: Generation) -> None:
        """Texts that the server refused in a batch have been asked for directly by now."""
        batches.forget_texts(connection, batches.space_id(connection, generation.space), "failed")
        connection.commit()

    def _texts(self, generation: Generation) -> Iterator[list[BatchText]]:
        prefix = generation.space.document_prefix
        with connect(self._run.conninfo, autocommit=True) as lookup:
            total = missing.count_texts_without_vector(lookup, generation)
            self._run.progress.begin(total)
            for batch in missing.texts_without_vector(lookup, generation, BATCH_TEXTS):
                yield [
                    BatchText(
                        text.hash, prefix + embedded_text(text.title, text.heading, text.content), text.tokens
                    )
                    for text in batch
                ]
                self._run.progress.advance(len(batch), 0)


def sample_of_stored(connection: Connection) -> list[tuple[str, int]]:
    """Some of the stored texts as they are embedded, with their tokens by our count."""
    return [
        (embedded_text(text.title, text.heading, text.content), text.tokens)
        for text in missing.sample(connection, SAMPLE_TEXTS)
    ]
