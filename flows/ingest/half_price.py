"""The part of a sync in which texts are handed in at half the price, before documents are stored: files are read for
their texts, and read again when the vectors are there. A document is stored when it has all its vectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pgfolio.config.errors import ConfigError
from pgfolio.config.models import provider_of
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.batches.choice import MIN_TEXTS, PROVIDER, batch_mode, offers_batches
from pgfolio.flows.batches.lines import BatchText
from pgfolio.flows.batches.phase import BatchPhase
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.discovery.listing import SourceUnreachable
from pgfolio.flows.discovery.trees import reader
from pgfolio.flows.ingest.prepare import prepared
from pgfolio.flows.run.report import Report
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import batches, generations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.ingest.document import Processing
    from pgfolio.flows.ingest.file_batch import WorkItem
    from pgfolio.flows.run.context import RunContext
    from pgfolio.flows.run.options import Step
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Source


class FilesToRead(Protocol):
    """Which files of a source a sync would read. Raises SourceUnreachable."""

    def __call__(self, connection: Connection, source: Source) -> Sequence[WorkItem]: ...


class HalfPrice:
    """Of one sync."""

    def __init__(self, run: RunContext, processing: Processing, files_to_read: FilesToRead) -> None:
        self._run = run
        self._processing = processing
        self._files_to_read = files_to_read
        self._mode = batch_mode(run.settings, run.options)

    def execute(self, connection: Connection, selected: Sequence[Source], step: Step) -> None:
        """As the run's mode says. Raises a ModelError or ConfigError where texts were to be handed in."""
        generation = self._generation(connection)
        if generation is None or not offers_batches(generation.space):
            return
        totals = batches.totals(connection, batches.space_id(connection, generation.space))
        connection.commit()
        if self._mode == "never":
            if totals.texts:
                self._run.report.note(
                    f"{totals.texts:,} texts are handed in to the Batch API: what is asked for of them is paid twice"
                )
        elif self._mode == "take":
            if totals.batches or totals.returned:
                self._take(connection, generation)
        else:
            self._run.report.space = generation.space.name
            step("hand in at half the price", self.hand_in, connection, generation, selected)

    def hand_in(self, connection: Connection, generation: Generation, selected: Sequence[Source]) -> None:
        texts = partial(self._texts, connection, generation, selected)
        with BatchPhase(self._run, generation) as phase:
            if self._mode == "wait":
                phase.until_done(texts)
            else:
                phase.hand_in(texts, MIN_TEXTS)

    def forget_failed(self, connection: Connection) -> None:
        """Texts that the server refused in a batch have been asked for directly by now."""
        generation = generations.active_generation(connection)
        if generation is not None and offers_batches(generation.space):
            batches.forget_texts(connection, batches.space_id(connection, generation.space), "failed")

    def _take(self, connection: Connection, generation: Generation) -> None:
        """What is ready. What came back undone is asked for directly; a server that cannot be reached now holds up
        nothing else."""
        try:
            with BatchPhase(self._run, generation) as phase:
                phase.take_ready()
        except (ModelError, ConfigError) as error:
            self._run.report.problem(Problem("", "embed", f"batches that are at work: {error}"))
        batches.forget_texts(connection, batches.space_id(connection, generation.space), "returned")
        connection.commit()

    def _generation(self, connection: Connection) -> Generation | None:
        """The active one; made, where texts are to be handed in and there is none."""
        if self._mode in {"wait", "hand_in"} and provider_of(self._run.settings) == PROVIDER:
            return self._run.active_generation(connection)
        generation = generations.active_generation(connection)
        connection.commit()
        return generation

    def _texts(
        self, connection: Connection, generation: Generation, selected: Sequence[Source]
    ) -> Iterator[list[BatchText]]:
        """Of all the files that the sync would read. What cannot be read now is the sync's to tell."""
        prefix = generation.space.document_prefix
        for source in selected:
            try:
                work_items = self._files_to_read(connection, source)
            except SourceUnreachable:
                connection.rollback()
                continue
            connection.commit()
            if work_items:
                self._run.progress.begin(len(work_items))
                yield from self._texts_of(source, work_items, prefix)

    def _texts_of(
        self, source: Source, work_items: Sequence[WorkItem], prefix: str
    ) -> Iterator[list[BatchText]]:
        settings, conninfo = self._run.settings, self._run.conninfo
        with (
            reader(conninfo, source, settings.crawl) as source_reader,
            prepared(
                source_reader,
                work_items,
                self._processing,
                count=self._run.tokenizer.count,
                report=Report(),  # its seconds are those of another reading
                timeout=settings.crawl.extract_timeout,
            ) as made,
        ):
            for batch in made:
                yield [
                    BatchText(
                        chunk.hash,
                        prefix + embedded_text(item.document.title, chunk.heading, chunk.content),
                        chunk.tokens,
                    )
                    for item in batch.prepared
                    for chunk in item.chunks
                ]
                self._run.progress.advance(batch.files, 0)
