"""Who does the work of a run: its own process where that is little, else others, which are started once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgfolio.config.machine import cores
from pgfolio.flows.execution.dask import DaskExecutor
from pgfolio.flows.execution.inline import InlineExecutor
from pgfolio.flows.execution.processes import ProcessExecutor

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.flows.execution.job import Executor

FEW_BYTES = 1024 * 1024
"""So much is done before other processes have started."""

INLINE_SLOTS = 2
"""One batch is read while another is stored."""

PRELOADED = ("pgfolio.flows.ingest.preloaded",)
PRELOADED_CLIENT = ("pgfolio.config.models.openai",)
"""Modules whose import loads what all workers share; and what those need who ask a model server."""


class Share(NamedTuple):
    """What one process does at once: batches, and requests to the model server (None: there is none to ask; 0: its
    turn is one of all processes')."""

    slots: int
    requests: int | None


class Workforce:
    """Of one run; without settings its own process."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings
        self._others: ProcessExecutor | DaskExecutor | None = None

    def connect(self) -> None:
        """To a cluster, before anything is planned. Raises ClusterError, ConfigError."""
        if self._settings and self._settings.sync.executor == "dask" and self._others is None:
            self._others = DaskExecutor(self._settings.sync.dask_address)

    def executor(self, weight: int, *, metered: bool = False) -> Executor:
        """For work of so many bytes. `metered`: a model server is asked."""
        if weight <= FEW_BYTES or self._settings is None:
            return InlineExecutor()
        self.connect()
        if self._others is None:
            preloaded = (*PRELOADED, *(PRELOADED_CLIENT if metered else ()))
            self._others = ProcessExecutor(self._settings.sync.workers or cores(), preloaded)
        return self._others

    @staticmethod
    def share(executor: Executor, in_flight: int, *, metered: bool) -> Share:
        """Of each of the executor's processes, where so many requests may be under way."""
        inline = isinstance(executor, InlineExecutor)
        if not metered:
            return Share(INLINE_SLOTS if inline else 1, None)
        if in_flight < executor.processes:
            return Share(1, 0)
        if isinstance(executor, DaskExecutor):  # the threads of all its workers are counted
            return Share(1, None)
        requests = in_flight // executor.processes
        return Share(requests + 1, requests)

    def close(self) -> None:
        if self._others is not None:
            self._others.close()
            self._others = None
