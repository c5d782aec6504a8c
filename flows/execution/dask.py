"""Work on a Dask cluster that is there already. Batches of a worker that ends go to others: the scheduler sees to
that."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pgfolio.config.errors import ConfigError
from pgfolio.flows.execution import dask_worker
from pgfolio.flows.execution.hand_out import MAX_DEATHS, Items
from pgfolio.flows.execution.job import Done

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pgfolio.flows.execution.hand_out import Ticket
    from pgfolio.flows.execution.job import ItemT, Job, ResultT

CONNECT_SECONDS = 5.0
POLL_SECONDS = 5.0
MAX_ALONE_SECONDS = 120.0
"""So long a cluster may be without any worker: one that was killed is started again."""

SETTING = "PGFOLIO_SYNC__DASK_ADDRESS"


class ClusterError(Exception):
    """The cluster cannot do the work, in a sentence for the user."""


class DaskExecutor:
    """Raises ClusterError when the cluster cannot be reached or is none that can do the work."""

    def __init__(self, address: str) -> None:
        try:
            import distributed  # noqa: PLC0415 -- an extra
        except ImportError as error:
            raise ConfigError(
                "PGFOLIO_SYNC__EXECUTOR: dask needs `pip install 'pgfolio[distributed]'`"
            ) from error
        if not address:
            raise ConfigError(f'{SETTING}: say where the scheduler is ("tcp://HOST:8786")')
        self._address = address
        self._distributed: Any = distributed
        try:
            self._client: Any = self._distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False, name="pgfolio"
            )
        except (OSError, ValueError, TimeoutError) as error:
            raise ClusterError(
                f"cannot reach the Dask scheduler {address}: is it running, and is {SETTING} right?"
            ) from error
        try:
            self.processes = self._threads()
        except BaseException:
            self.close()
            raise

    def run(self, job: Job[ItemT, ResultT], items: Iterable[ItemT]) -> Generator[Done[ResultT]]:
        key = uuid.uuid4().hex
        to_do = Items(job, items)
        running: dict[Any, Ticket[ItemT]] = {}
        try:
            while True:
                while len(running) < self.processes + self.processes // 2 + 1 and (ticket := to_do.take()):
                    future = self._client.submit(dask_worker.work, key, job, ticket.item, pure=False)
                    running[future] = ticket
                    del ticket  # a large one is not kept while the next is made
                if not running:
                    return
                for future in self._completed(list(running)):
                    ticket = running.pop(future)
                    answer = self._answer(future)
                    if answer is not None:
                        to_do.done(ticket)
                        yield Done(answer.worker, answer.result)
                    elif (item := to_do.lost(ticket, MAX_DEATHS)) is not None:
                        yield Done("this process", job.give_up(item))
        finally:
            with suppress(Exception):  # the cluster may be what is gone
                if running:
                    self._client.cancel(list(running), force=True)
                self._client.run(dask_worker.close, key)

    def close(self) -> None:
        with suppress(Exception):
            self._client.close(CONNECT_SECONDS)

    def _threads(self) -> int:
        """Of all workers together: each does one item at a time."""
        with suppress(TimeoutError, asyncio.TimeoutError):
            self._client.wait_for_workers(1, CONNECT_SECONDS)
        versions = self._client.run(dask_worker.package_version, on_error="return")
        if not versions:
            raise ClusterError(f"the Dask cluster {self._address} has no worker")
        ours = dask_worker.package_version()
        for worker, version in versions.items():
            if version != ours:
                raise ClusterError(
                    f"the Dask worker {worker} has pgfolio {version if isinstance(version, str) else 'not'} "
                    f"installed, and this is {ours}: they must be the same"
                )
        return sum(self._client.nthreads().values())

    def _completed(self, futures: list[Any]) -> list[Any]:
        """Waits for some. Raises ClusterError."""
        alone_since = None
        while True:
            with suppress(TimeoutError, asyncio.TimeoutError), self._client.as_current():
                done = self._distributed.wait(futures, POLL_SECONDS, "FIRST_COMPLETED").done
                if done:
                    return list(done)
            if self._client.status != "running" or not self._is_reached():
                raise ClusterError(f"lost the Dask scheduler {self._address}: what is done is stored")
            alone_since = None if self._client.nthreads() else alone_since or time.monotonic()
            if alone_since and time.monotonic() - alone_since > MAX_ALONE_SECONDS:
                raise ClusterError(
                    f"the Dask cluster {self._address} has no worker left: what is done is stored"
                )

    def _is_reached(self) -> bool:
        try:
            self._client.nthreads()
        except Exception:  # noqa: BLE001 -- whatever it raises, nobody answers
            return False
        return True

    def _answer(self, future: Any) -> dask_worker.TaskAnswer | None:
        """None: several workers ended over it. Raises what the work raised, and ClusterError."""
        try:
            answer = self._result(future)
        except self._distributed.scheduler.KilledWorker:
            return None
        except CancelledError as error:
            raise ClusterError(
                f"the Dask scheduler {self._address} forgot what it was given: was it restarted?"
            ) from error
        except ClusterError:
            raise
        except Exception as error:
            raise ClusterError(f"the Dask cluster {self._address} cannot do the work: {error}") from error
        if answer.error is not None:
            raise answer.error
        return answer

    def _result(self, future: Any) -> dask_worker.TaskAnswer:
        """A result that is done is with its worker still: if that ends, the work is done again, or fails then."""
        while True:
            with suppress(TimeoutError):
                answer: dask_worker.TaskAnswer = future.result(POLL_SECONDS)
                return answer
            self._completed([future])
