"""Work in processes of this machine: started once, each forked from one that has the models in memory, and replaced
when it ends."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pgfolio.config.environment import temporary_environment, variables
from pgfolio.config.machine import cores
from pgfolio.flows.execution import worker_process
from pgfolio.flows.execution.hand_out import Items
from pgfolio.flows.execution.job import Done
from pgfolio.flows.execution.worker_process import Begin, Finished, Raised, Work

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from pgfolio.flows.execution.hand_out import Ticket
    from pgfolio.flows.execution.job import ItemT, Job, ResultT

STOP_SECONDS = 10.0
"""Seconds that a worker may take to end by itself."""

MAX_DEATHS_IN_A_ROW = 8
"""For each process: when so many have ended without one result between, none will come."""

ONE_THREAD = {
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONSAFEPATH": "1",
}
"""Libraries of a worker start no threads: there are as many workers as cores, or else a network has its share of them
(OMP_NUM_THREADS). What lies in the working directory is
no module of theirs."""


class WorkersEndError(Exception):
    """Processes that do the work end before they have done anything."""


class _Worker:
    """One process as the run sees it."""

    def __init__(self, name: str, preload: Sequence[str], threads: int) -> None:
        self.name = name
        self.out: dict[int, Ticket[Any]] = {}
        context: Any = multiprocessing.get_context(_start_method())
        self.pipe, theirs = context.Pipe()
        with _without_main_module(), temporary_environment(**ONE_THREAD, OMP_NUM_THREADS=str(threads)):
            context.set_forkserver_preload(list(preload))
            self._process = context.Process(
                target=worker_process.serve, args=(theirs, dict(variables())), name=name
            )
            self._process.start()
        theirs.close()

    def send(self, message: object) -> None:
        """One that has ended is noticed when it is read from."""
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def ended(self) -> None:
        self.pipe.close()
        self._process.join()

    def stop(self) -> None:
        self.send(None)

    def wait(self) -> None:
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
        self.ended()


class ProcessExecutor:
    """`preload`: modules whose import loads what all processes share."""

    def __init__(self, processes: int, preload: Sequence[str]) -> None:
        self.processes = processes
        self._preload = preload
        self._threads = max(cores() // processes, 1)
        self._workers: list[_Worker] = []
        self._numbers = 0
        self._deaths = 0

    def run(self, job: Job[ItemT, ResultT], items: Iterable[ItemT]) -> Generator[Done[ResultT]]:
        to_do = Items(job, items)
        given_up: deque[ItemT] = deque()
        begin = Begin(job)
        self._start(begin)
        complete = False
        try:
            while True:
                self._hand_out(job, to_do)
                while given_up:
                    yield Done("this process", job.give_up(given_up.popleft()))
                if not to_do.outstanding:
                    complete = True
                    return
                for pipe in wait([worker.pipe for worker in self._workers]):
                    worker = next(worker for worker in self._workers if worker.pipe is pipe)
                    try:
                        message = worker.pipe.recv()
                    except (EOFError, ConnectionResetError):
                        given_up.extend(self._replace(worker, to_do, begin))
                        continue
                    yield from self._received(worker, message, to_do)
        finally:
            if not complete:
                self.close()

    def close(self) -> None:
        """Those that have nothing to do end at once; others as soon as they have stopped waiting."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()

    def _received(self, worker: _Worker, message: object, to_do: Items[Any]) -> Iterator[Done[Any]]:
        if isinstance(message, Raised):
            raise message.error
        assert isinstance(message, Finished)  # noqa: S101
        to_do.done(worker.out.pop(message.number))
        self._deaths = 0
        yield Done(worker.name, message.result)

    def _start(self, begin: Begin) -> None:
        while len(self._workers) < self.processes:
            self._add()
        for worker in self._workers:
            worker.send(begin)

    def _add(self) -> _Worker:
        self._numbers += 1
        worker = _Worker(f"worker {self._numbers}", self._preload, self._threads)
        self._workers.append(worker)
        return worker

    def _hand_out(self, job: Job[Any, Any], to_do: Items[Any]) -> None:
        """To whoever has least; one item more than it can do at once waits in its pipe."""
        while True:
            worker = min(self._workers, key=lambda worker: len(worker.out))
            if len(worker.out) > job.slots or (ticket := to_do.take()) is None:
                return
            number = max(worker.out, default=0) + 1
            worker.out[number] = ticket
            worker.send(Work(number, ticket.item))

    def _replace(self, worker: _Worker, to_do: Items[ItemT], begin: Begin) -> list[ItemT]:
        """What it had goes to others; returns what is to be given up."""
        self._workers.remove(worker)
        worker.ended()
        self._deaths += 1
        if self._deaths > MAX_DEATHS_IN_A_ROW * self.processes:
            raise WorkersEndError(
                "the processes that do the work end before they have done anything: is there enough memory?"
            )
        given_up = [item for ticket in worker.out.values() if (item := to_do.lost(ticket)) is not None]
        self._add().send(begin)
        return given_up


def _start_method() -> str:
    """Forked from a process that has no threads, where there is such: threads of ours may hold locks."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextmanager
def _without_main_module() -> Iterator[None]:
    """The program that runs here is not imported by each worker: Prefect's takes two seconds."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
