"""One execution of a flow: what the user asked, what it shares, its row in `runs` from beginning to end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from pgfolio.config import models, telemetry
from pgfolio.config.errors import ConfigError
from pgfolio.flows.embedding.opening import EmbedderPlan
from pgfolio.flows.embedding.retry import with_retries
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.flows.run.progress import NullProgress, Progress
from pgfolio.flows.run.report import Report
from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.errors import refusal
from pgfolio.schema.operations import runs
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations
from pgfolio.schema.vectors.storage import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.models.wordllama import BundledTokenizer
    from pgfolio.config.settings import Settings
    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.embedding.spending import Spending
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


class RunContext:
    """What the parts of one execution share; made when first needed, so that a run that finds nothing to do
    loads no model."""

    def __init__(
        self, settings: Settings, conninfo: str, options: Options, progress: Progress | None = None
    ) -> None:
        self.settings = settings
        self.conninfo = conninfo
        self.options = options
        self.progress = progress or NullProgress()
        self.report = Report()
        self.committed_usd = 0.0
        """Of what the run may cost, what it is bound to pay otherwise than request by request."""

    @contextmanager
    def recorded(self, flow: Literal["sync", "reembed", "index"]) -> Iterator[Connection]:
        """The run's connection, and its row in `runs`, finished whatever happens (a plan leaves no row).

        Raises FailedError for every error; an interrupt stays one.
        """
        telemetry.start("pgfolio-flows")
        began = time.perf_counter()
        try:
            with telemetry.root_span(flow), connect(self.conninfo) as connection:
                if self.options.plan_only:
                    self.report.status = "planned"
                else:
                    self.report.run_id = runs.start(connection, flow, self.options.started_by)
                    connection.commit()
                yield connection
                self.report.seconds["total"] = time.perf_counter() - began
                self._finish(connection)
        except BaseException as error:
            self.report.status, self.report.error = "failed", sentence(refusal(error) or error)
            self.report.seconds["total"] = time.perf_counter() - began
            self._finish_failed()
            if isinstance(error, Exception):
                raise FailedError(self.report.error, self.report) from error
            raise

    @cached_property
    def tokenizer(self) -> BundledTokenizer:
        from pgfolio.config.models.wordllama import bundled_tokenizer  # noqa: PLC0415 -- a no-op needs no model

        return bundled_tokenizer()

    def active_generation(self, connection: Connection) -> Generation:
        """On a new database one is made, in the space that the settings ask for. Raises ConfigError or ModelError.

        Commits: no transaction stays open while the model server is asked for its dimensions.
        """
        generation = generations.active_generation(connection)
        connection.commit()
        if generation is None:
            space = self.requested_space()
            if space.storage == "bit":
                space = replace(space, storage="halfvec")
                self.report.note(
                    "storage bit loses recall on some models' vectors, so it is measured first: this sync stored "
                    "halfvec; `pgfolio reembed` moves to bit, at no cost, where recall allows it"
                )
            generation = generations.ensure_active(connection, space)
            connection.commit()
        return generation

    def note_prefixes(self, connection: Connection) -> None:
        """Those that were set after the active space was made are said to have no effect."""
        generation = generations.active_generation(connection)
        connection.commit()
        embedding = self.settings.embedding
        if generation and (
            note := generation.space.prefix_note(embedding.query_prefix, embedding.document_prefix)
        ):
            self.report.note(note)

    def requested_space(self) -> Space:
        """The space that the settings ask for. Raises ConfigError or ModelError."""
        lookup = partial(models.configured_space, self.settings)
        provider, model, dimensions, shortened = with_retries(lookup, self.settings.embedding.deadline)
        embedding = self.settings.embedding
        card = models.files_card(provider, model)
        if card is not None and card.max_tokens < self.settings.chunking.tokens:
            self.report.note(
                f"{model} reads {card.max_tokens} tokens of a text, and chunks have up to "
                f"{self.settings.chunking.tokens}: what comes after has no part in their vectors; "
                "PGFOLIO_CHUNKING__TOKENS makes them shorter"
            )
        own_prefixes = (card.query_prefix, card.document_prefix) if card else ("", "")
        storage = self.settings.index.storage
        if dimensions > KINDS[storage].max_dimensions:
            raise ConfigError(
                f"PGFOLIO_INDEX__STORAGE: an index of {storage} serves at most {KINDS[storage].max_dimensions:,} "
                f"dimensions, and {model} has {dimensions:,}: halfvec serves 4,000"
            )
        return Space(
            provider=provider,
            model=model,
            dimensions=dimensions,
            shortened=shortened,
            query_prefix=own_prefixes[0] if embedding.query_prefix is None else embedding.query_prefix,
            document_prefix=own_prefixes[1]
            if embedding.document_prefix is None
            else embedding.document_prefix,
            storage=storage,
        )

    @contextmanager
    def embedder(self, generation: Generation) -> Iterator[Embedder]:
        """The embedder of a generation's space; what it spent goes into the report."""
        with self.embedder_plan(generation).open() as embedder:
            try:
                yield embedder
            finally:
                embedder.stop()
                self.record_spending(embedder.spending)

    def embedder_plan(self, generation: Generation, requests: int | None = None) -> EmbedderPlan:
        return EmbedderPlan(
            settings=self.settings,
            conninfo=self.conninfo,
            space=generation.space,
            run_id=self.report.run_id,
            max_cost=None
            if self.options.max_cost is None
            else max(self.options.max_cost - self.committed_usd, 0.0),
            requests=requests,
        )

    def record_spending(self, spending: Spending) -> None:
        """Of an embedder that is done."""
        self.report.tokens += spending.tokens
        self.report.cost_usd += spending.cost_usd
        seconds_by_cause = {
            "seconds": spending.working,
            "rate_limited": spending.rate_limited,
            "retrying": spending.retrying,
        }
        for name, seconds in seconds_by_cause.items():
            self.report.embedding[name] = self.report.embedding.get(name, 0.0) + seconds
        self._learn(spending.traffic.counted, spending.traffic.billed)
        for note in spending.traffic.notes():
            self.report.note(note)

    def record_batch(self, texts: int, billed: int, counted: int, cost_usd: float) -> None:
        """Of vectors that came at the price of a batch; `counted`: tokens by our own count."""
        self.report.tokens += billed
        self.report.cost_usd += cost_usd
        self._learn(counted, billed)
        batch = self.report.batch
        for name, amount in {"texts": texts, "tokens": billed, "cost_usd": cost_usd}.items():
            batch[name] = batch.get(name, 0) + amount

    def _learn(self, counted: int, billed: int) -> None:
        """What the server bills for a token of ours: the next estimate goes by it."""
        for name, tokens in {"counted": counted, "billed": billed}.items():
            if tokens:
                self.report.embedding[name] = self.report.embedding.get(name, 0) + tokens

    def billed_per_counted(
        self, connection: Connection, space: Space, sample: Sequence[tuple[str, int]] = ()
    ) -> float:
        """Tokens that a server is expected to bill for one that we count: as it did before; or else as its model's
        own vocabulary has it, where that is here, of some of the texts with their tokens by our count."""
        if not space.asks_server:
            return 1.0
        if (learned := runs.billed_per_counted(connection, space.name)) is not None:
            return learned
        from pgfolio.config.models import openai_tokens  # noqa: PLC0415

        return openai_tokens.billed_per_counted(space.model, sample) or 1.0

    def price(self, space: Space) -> float:
        """US dollars for a million tokens."""
        return self.settings.prices.get(space.model, 0.0)

    def _finish(self, connection: Connection) -> None:
        if self.report.run_id is not None and self.report.status != "planned":
            runs.finish(
                connection, self.report.run_id, self.report.status, self.report.as_record(), self.report.error
            )

    def _finish_failed(self) -> None:
        """On a connection of its own: the run's may be what broke."""
        if self.report.run_id is None:
            return
        try:
            with connect(self.conninfo) as connection:
                self._finish(connection)
        except Exception as error:  # noqa: BLE001 -- the first error is the one to be seen
            self.report.error += f" (and the run's end could not be recorded: {error})"


def sentence(error: BaseException) -> str:
    if not isinstance(error, Exception):  # Ctrl-C, or a signal as Prefect raises it
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        return said or "interrupted; what was done until then is stored, the next sync goes on from there"
    return " ".join(str(error).split()) or type(error).__name__
