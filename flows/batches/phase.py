"""The part of a run that hands texts in, waits for their vectors, and takes them. What comes is kept by the hash of
its text: the run then goes on as ever, and finds the vectors that it needs."""

from __future__ import annotations

import math
import re
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, Self

from pgfolio.config import models
from pgfolio.config.models.batch_limits import QUEUE_FULL, WINDOW_SECONDS
from pgfolio.config.models.protocols import FatalModelError, TransientError
from pgfolio.flows.batches.answers import Taken, take_answers
from pgfolio.flows.batches.choice import batch_price
from pgfolio.flows.batches.hand_in import HandIn, at_server
from pgfolio.flows.run.progress import duration
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from pgfolio.config.models.batch_api import ServerBatch
    from pgfolio.flows.batches.lines import BatchText
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.batches import HandedInBatch

POLL_SECONDS: Final = (0.5, 120.0)
POLL_FRACTION: Final = 0.1
"""Of the time waited until now: what takes long is asked for seldom."""

GIVE_UP: Final = timedelta(seconds=WINDOW_SECONDS + 3600)
"""After which one that cannot be seen at the server is given up."""

MIN_QUEUE_TOKENS: Final = 1000
"""A queue that refuses less than this is not full of ours."""

LIMIT: Final = re.compile(r"limit:?\s*([\d,.]*\d)", re.IGNORECASE)
"""Of a refusal, as in "Enqueued token limit reached ... Limit: 3,000,000 enqueued tokens"."""


class Texts(Protocol):
    """Makes the texts that lack a vector, some at a time; anew with each call."""

    def __call__(self) -> Iterator[Sequence[BatchText]]: ...


class BatchPhase:
    """Of one run and one space. Entered, it has a connection and a client of its own. Raises ConfigError."""

    def __init__(self, run: RunContext, generation: Generation) -> None:
        self._run = run
        self._generation = generation
        self._space = generation.space
        self._opened = ExitStack()
        self._taken = Taken()
        self._is_limited = self._is_smaller = False

    def __enter__(self) -> Self:
        self._connection: Connection = self._opened.enter_context(
            connect(self._run.conninfo, autocommit=True)
        )
        self.space_id = batches.space_id(self._connection, self._space)
        space = self._space
        self._api = models.batch_client(
            self._run.settings, space.model, space.dimensions, shorten=space.shortened
        )
        self._opened.callback(self._api.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            totals = batches.totals(self._connection, self.space_id)
            self._record(totals.texts + totals.returned)
        if isinstance(error, KeyboardInterrupt) and totals.batches:
            raise KeyboardInterrupt(
                f"interrupted; {totals.texts:,} texts are handed in and stay at work at the model server: the next "
                "run takes what is ready, and `--batch` waits for the rest"
            ) from error

    def take_ready(self) -> None:
        """What is answered of what was handed in before; what still waits for a place is handed in. Raises a
        ModelError."""
        with batches.alone(self._connection) as is_alone:
            if is_alone:
                self._look()

    def hand_in(self, texts: Texts, at_least: int = 0) -> int:
        """How many texts; as far as the allowed cost covers them. Raises a ModelError."""
        with self._turn():
            self._look()
            handing_in = self._hand_in_now()
            handing_in.hand_in(texts(), at_least)
            self._is_limited = handing_in.is_limited
            return handing_in.texts

    def until_done(self, texts: Texts) -> None:
        """Hand in, wait, and again what came back undone, as long as anything is done. Raises a ModelError."""
        while True:
            before, self._is_smaller = self._taken.texts + self._taken.failed, False
            self.hand_in(texts)
            self._wait()
            returned = batches.totals(self._connection, self.space_id).returned
            is_stuck = self._taken.texts + self._taken.failed == before and not self._is_smaller
            if not returned or self._is_limited or is_stuck:
                return

    def is_waiting(self) -> bool:
        """Whether there are texts whose vectors are still to come."""
        totals = batches.totals(self._connection, self.space_id)
        return bool(totals.batches or totals.returned)

    def _wait(self) -> None:
        """Until no batch is at work. A server that is away for a while is waited for as well."""
        began, trouble = time.monotonic(), ""
        while opened := batches.open_batches(self._connection, self.space_id):
            self._run.progress.stage(_waiting(opened, trouble))
            waited = time.monotonic() - began
            time.sleep(min(max(waited * POLL_FRACTION, POLL_SECONDS[0]), POLL_SECONDS[1]))
            try:
                self.take_ready()
                trouble = ""
            except TransientError as error:
                trouble = str(error)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Inside, nobody else hands in."""
        while True:
            with batches.alone(self._connection) as is_alone:
                if is_alone:
                    yield
                    return
            self._run.progress.stage("waiting for another run that hands texts in")
            time.sleep(POLL_SECONDS[0])

    def _look(self) -> None:
        """At every batch that is not at its end, once; inside `batches.alone`."""
        opened = batches.open_batches(self._connection, self.space_id)
        self._recover([batch for batch in opened if batch.state != "handed_in"])
        for batch in batches.open_batches(self._connection, self.space_id):
            if batch.state == "handed_in":
                self._look_at(batch)
        opened = batches.open_batches(self._connection, self.space_id)
        if any(batch.state == "uploaded" for batch in opened):
            self._hand_in_now().send_uploaded()

    def _recover(self, unnoted: Sequence[HandedInBatch]) -> None:
        """Whoever made them is gone, or was cut off: what is at the server is taken over, and of what never came
        there nothing is left."""
        uploaded = [batch for batch in unnoted if batch.state == "uploaded" and self._is_ours(batch)]
        known = at_server(self._api, uploaded)
        for batch in unnoted:
            if batch.key in known:
                batches.note_handed_in(self._connection, batch, known[batch.key])
            elif batch.state == "preparing":
                batches.discard(self._connection, batch)

    def _is_ours(self, batch: HandedInBatch) -> bool:
        """Handed in to the server that is asked now; one at another is waited for, and then given up."""
        if batch.server == self._api.place:
            return True
        if not self._given_up(batch, f"it was handed in to {batch.server}"):
            self._run.report.problem(
                Problem(
                    "",
                    "embed",
                    f"{batch.texts:,} texts were handed in to {batch.server}, and the settings name "
                    f"{self._api.place}: they are waited for until a day is over; `--no-batch` pays for them again",
                )
            )
        return False

    def _look_at(self, batch: HandedInBatch) -> None:
        if not self._is_ours(batch) or batch.batch_id is None:
            return
        server = self._api.retrieve(batch.batch_id)
        if server is None:
            self._given_up(batch, f"{batch.server} does not know batch {batch.batch_id}")
        elif server.has_failed:
            self._failed(batch, server)
        elif server.has_ended:
            taken = Taken()
            try:
                take_answers(self._connection, self._api, batch, self._space, server, taken)
            finally:
                self._count(batch, taken)

    def _given_up(self, batch: HandedInBatch, reason: str) -> bool:
        """Once its time is over: its texts are handed in again."""
        since = batch.handed_in_at or batch.made_at
        if datetime.now(UTC) - since < GIVE_UP:
            return False
        batches.end(self._connection, batch, "lost", reason=reason)
        self._run.report.note(f"{batch.texts:,} texts are given up, and will be asked for again: {reason}")
        return True

    def _failed(self, batch: HandedInBatch, server: ServerBatch) -> None:
        """The server failed it as a whole: nothing is to be paid. Raises FatalModelError where it was not its
        queue."""
        if QUEUE_FULL not in server.codes:
            said = server.said or "without a word"
            batches.end(self._connection, batch, "lost", reason=said)
            raise FatalModelError(f"the model server refused a batch of {batch.texts:,} texts: {said}")
        limit = _limit(server.said)
        opened = batches.open_batches(self._connection, self.space_id)
        is_single = not any(other.id != batch.id and other.state == "handed_in" for other in opened)
        if is_single and (batch.tokens_estimated > (limit or MIN_QUEUE_TOKENS)) and batch.texts > 1:
            limit = limit or batch.tokens_estimated // 2
            batches.end(self._connection, batch, "lost", reason=server.said, queue_tokens=limit)
            self._is_smaller = True
        else:
            batches.note_queue_full(self._connection, batch, server.said, limit)

    def _hand_in_now(self) -> HandIn:
        run, price = self._run, batch_price(self._run.settings, self._space) or 0.0
        return HandIn(
            self._connection,
            self._api,
            self._generation,
            run_id=run.report.run_id,
            space_id=self.space_id,
            usd_per_million_tokens=price,
            billed_per_counted=partial(run.billed_per_counted, self._connection, self._space),
            max_tokens=self._max_tokens(price),
            deadline=run.settings.embedding.deadline,
        )

    def _max_tokens(self, price: float) -> float:
        """That the run's allowed cost still covers: batches at work are a part of it."""
        if self._run.options.max_cost is None or not price:
            return math.inf
        allowed = self._run.options.max_cost - self._run.report.cost_usd - self._at_work_usd()
        return max(allowed, 0.0) / price * 1_000_000

    def _at_work_usd(self) -> float:
        opened = batches.open_batches(self._connection, self.space_id)
        return sum(batch.estimated_usd for batch in opened)

    def _count(self, batch: HandedInBatch, taken: Taken) -> None:
        total = self._taken
        total.texts += taken.texts
        total.failed += taken.failed
        total.reasons += taken.reasons
        cost = taken.billed * batch.usd_per_million_tokens / 1_000_000
        self._run.record_batch(taken.texts, taken.billed, taken.counted, cost)

    def _record(self, waiting: int) -> None:
        report = self._run.report
        if waiting or report.batch:
            report.batch["waiting"] = waiting
        if self._taken.failed:
            reason = f": {self._taken.reasons[0]}" if self._taken.reasons else ""
            report.note(
                f"{self._taken.failed:,} texts of batches were refused, and are asked for directly{reason}"
            )


def _waiting(opened: Sequence[HandedInBatch], trouble: str) -> str:
    """For whoever waits."""
    texts, done = sum(batch.texts for batch in opened), sum(batch.texts_done for batch in opened)
    since = min((batch.handed_in_at or batch.made_at for batch in opened), default=datetime.now(UTC))
    ago = duration((datetime.now(UTC) - since).total_seconds())
    cost = sum(batch.estimated_usd for batch in opened)
    queued = sum(batch.state == "uploaded" for batch in opened)
    parts = [
        f"waiting for {len(opened)} batches of {texts - done:,} texts, handed in {ago} ago (at most a day each)",
        f"about ${cost:.4f}" if cost else "",
        f"{queued} wait for a place in the server's queue" if queued else "",
        trouble,
    ]
    return "; ".join(filter(None, parts))


def _limit(said: str) -> int | None:
    """Tokens that the queue takes, where the refusal says it."""
    match = LIMIT.search(said)
    digits = re.sub(r"\D", "", match[1]) if match else ""
    return int(digits[:15]) if digits else None
