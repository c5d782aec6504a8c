"""Who does the work of a sync: its own process where that is little, else others, which are started once for a
run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pgfolio.flows.execution.dask import DaskExecutor
from pgfolio.flows.execution.inline import InlineExecutor
from pgfolio.flows.execution.processes import ProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.execution.job import Executor
    from pgfolio.flows.ingest.file_batch import WorkItem

FEW_BYTES = 1024 * 1024
"""Of the files: so much is done before other processes have started."""

FILE_BYTES = 2048
"""What a file costs, however small it is, in bytes of a larger one."""

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
    """Of one run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._others: ProcessExecutor | DaskExecutor | None = None

    def connect(self) -> None:
        """To a cluster, before anything is planned. Raises ClusterError, ConfigError."""
        if self._settings.sync.executor == "dask" and self._others is None:
            self._others = DaskExecutor(self._settings.sync.dask_address)

    def executor(self, work_items: Sequence[WorkItem], *, metered: bool) -> Executor:
        """For these files. `metered`: a model server is asked."""
        if sum(item.entry.signature.size + FILE_BYTES for item in work_items) <= FEW_BYTES:
            return InlineExecutor()
        self.connect()
        if self._others is None:
            preloaded = (*PRELOADED, *(PRELOADED_CLIENT if metered else ()))
            self._others = ProcessExecutor(self._settings.sync.workers or cores(), preloaded)
        return self._others

    def carries_bytes(self, executor: Executor) -> bool:
        """Whether the run opens the files for them."""
        return self._settings.sync.read == "driver" and isinstance(executor, DaskExecutor)

    def share(self, executor: Executor, *, metered: bool) -> Share:
        """Of each of the executor's processes."""
        in_flight = self._settings.embedding.in_flight
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


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
