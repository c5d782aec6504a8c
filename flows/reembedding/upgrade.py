"""The move to a better space in the background, while searches and syncs go on: whether it is to be begun at all, its
run, and what is remembered of it for the next start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import FatalModelError
from pgfolio.flows.batches.choice import offers_batches
from pgfolio.flows.embedding.budget import BudgetSpentError
from pgfolio.flows.reembedding.gate import GateError
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.reembedding.target import reembed_command
from pgfolio.flows.reembedding.upgrade_progress import UpgradeProgress
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.exclusive import wait_for_syncs
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs
from pgfolio.schema.vectors import batches, generations, upgrades
from pgfolio.schema.vectors.generations import ReembedBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.options import Result
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Space
    from pgfolio.schema.vectors.upgrades import PastUpgrade, UpgradeState

Verdict: TypeAlias = Literal["begin", "active", "left", "refused"]

BUSY_SECONDS: Final = 1.0
"""Seconds between two looks while somebody else moves the corpus."""

FINAL = (ConfigError, FatalModelError, BudgetSpentError, GateError)
"""What is the same at the next try, unless the user does something."""


def verdict(
    target: Space, active: Space | None, past: PastUpgrade | None, conditions: Mapping[str, Any]
) -> Verdict:
    """Whether the upgrade is to be begun, or gone on with. Pure.

    active: it was taken. left: it was taken, and somebody went to another space since, which an automatic move does
    not undo. refused: by the gate, and nothing is different now.
    """
    if target == active:
        return "active"
    if past is not None and past.state == "taken":
        return "left"
    if past is not None and past.state == "refused" and past.tried == conditions:
        return "refused"
    return "begin"


def run_upgrade(settings: Settings, conninfo: str, say: Callable[[str], None]) -> None:
    """Until it is taken, or cannot be, which `say` is told in a sentence; what is known already is not done again.
    `settings` name the space. Raises FailedError, ModelError or DatabaseError where the next try may succeed."""
    try:
        target = RunContext(settings, conninfo, Options()).requested_space()
    except (ConfigError, FatalModelError) as error:
        say(f"no upgrade: {error}; searches go on in the space that is active")
        return
    BackgroundUpgrade(settings, conninfo, target, say).run()


class BackgroundUpgrade:
    """To one space."""

    def __init__(self, settings: Settings, conninfo: str, target: Space, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._conninfo = conninfo
        self._target = target
        self._say = say
        self._started_by = f"upgrade to {target.name}"

    def run(self) -> None:
        with connect(self._conninfo) as connection:
            active = generations.active_generation(connection)
            past = upgrades.past(connection, self._target)
            now = self._conditions(connection)
            known = verdict(self._target, active.space if active else None, past, now)
            if known == "begin":
                upgrades.begin(connection, self._target)
            elif known == "active" and (
                past is None or past.state != "taken"
            ):  # by a move that was asked for
                upgrades.begin(connection, self._target)
                upgrades.end(connection, self._target, "taken")
        if known == "begin":
            self._move()
        elif known == "left":
            goes_back = f"`{reembed_command(self._settings)}` goes back to it"
            self._say(f"{self._target.name} was in use before and was left: {goes_back}")
        elif known == "refused" and past is not None:
            self._say(f"no upgrade, for nothing has changed since: {past.reason}")

    def _move(self) -> None:
        progress = UpgradeProgress(self._conninfo, self._target, self._say)
        while True:
            self._wait_for_others()
            try:
                run_reembed(
                    self._settings,
                    self._conninfo,
                    self._options(),
                    progress=progress,
                    step=self._after_syncs,
                    space=self._target,
                )
            except FailedError as error:
                if isinstance(error.__cause__, ReembedBusyError):
                    continue
                self._failed(error)
            else:
                self._end("taken")
                self._say(f"searches use {self._target.name} now; `pgfolio reembed --rollback` goes back")
            return

    def _wait_for_others(self) -> None:
        """Who move the corpus: a try beside them would be a failed run."""
        with connect(self._conninfo, autocommit=True) as connection:
            while generations.is_reembedding(connection):
                time.sleep(BUSY_SECONDS)

    def _failed(self, error: FailedError) -> None:
        """Raises it where the next try may succeed."""
        if not isinstance(error.__cause__, FINAL):
            raise error
        self._end("refused" if isinstance(error.__cause__, GateError) else "failed", str(error))
        self._say(f"no upgrade: {error}")

    def _options(self) -> Options:
        """What may be spent is for all tries together."""
        max_cost = self._settings.upgrade.max_cost
        if max_cost is not None:
            with connect(self._conninfo) as connection:
                tokens = runs.billed_tokens(connection, self._started_by)
                batch_usd = batches.cost_usd(connection, self._started_by)
            price = self._settings.prices.get(self._target.model, 0.0)
            max_cost = max(max_cost - tokens * price / 1_000_000 - batch_usd, 0.0)
        batch = True if self._settings.embedding.batch and offers_batches(self._target) else None
        return Options(max_cost=max_cost, started_by=self._started_by, in_background=True, batch=batch)

    def _after_syncs(self, name: str, work: Callable[..., Result], *args: Any) -> Result:
        """A step of the move, once no sync runs."""
        del name
        with connect(self._conninfo, autocommit=True) as connection:
            wait_for_syncs(connection)
        return work(*args)

    def _end(self, state: UpgradeState, reason: str = "") -> None:
        with connect(self._conninfo) as connection:
            upgrades.end(connection, self._target, state, reason, self._conditions(connection))

    def _conditions(self, connection: Connection) -> dict[str, Any]:
        """What a gate's judgement depends on."""
        chunks, newest = upgrades.corpus_extent(connection)
        index = self._settings.index
        return {
            "chunks": chunks,
            "newest_chunk": newest,
            "m": index.m,
            "ef_construction": index.ef_construction,
            "ef_search": index.ef_search,
            "gate_recall": index.gate_recall,
        }
