"""A worker of this machine: in its process. Does what comes by the pipe from the run, and ends with it."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from pgfolio.config.environment import replace_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection as Pipe

    from pgfolio.flows.execution.job import Job, OpenJob


@dataclass(frozen=True, slots=True)
class Begin:
    """What follows is of this job."""

    job: Job[Any, Any]


@dataclass(frozen=True, slots=True)
class Work:
    number: int
    item: Any


@dataclass(frozen=True, slots=True)
class Finished:
    number: int
    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """Not by an item, but by what all need."""

    error: BaseException


def serve(pipe: Pipe, environment: Mapping[str, str]) -> None:
    """Until the pipe's other end says None, or is gone: then the process ends at once, with what it has not
    stored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run to handle
    replace_environment(environment)
    work = _Served(pipe)
    try:
        while (message := pipe.recv()) is not None:
            if isinstance(message, Begin):
                work.begin(message.job)
            else:
                work.submit(message)
        work.close()
    except (EOFError, OSError):
        os._exit(1)


class _Served:
    """The job that is open."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._sending = Lock()
        self._opened = ExitStack()
        self._work: OpenJob[Any, Any] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, job: Job[Any, Any]) -> None:
        self.close()
        try:
            self._work = self._opened.enter_context(job.open())
        except BaseException as error:  # noqa: BLE001 -- it is the run's to know
            self._send(Raised(copyable(error)))
            return
        self._pool = ThreadPoolExecutor(job.slots, thread_name_prefix="work")

    def submit(self, message: Work) -> None:
        if self._pool is not None and self._work is not None:
            self._pool.submit(self._do, self._work, message)

    def _do(self, work: OpenJob[Any, Any], message: Work) -> None:
        try:
            self._send(Finished(message.number, work(message.item)))
        except BaseException as error:  # noqa: BLE001 -- as above
            self._send(Raised(copyable(error)))

    def _send(self, message: object) -> None:
        with self._sending:
            self._pipe.send(message)

    def close(self) -> None:
        if self._work is not None:
            self._work.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._opened.close()
        self._work = self._pool = None


def copyable(error: BaseException) -> BaseException:
    """The error as another process can have it: itself, or of the nearest class that is made of its sentence."""
    if (copy := _copied(lambda: error)) is not None:
        return copy
    for kind in type(error).__mro__[:-2]:  # not object, and not BaseException
        if (copy := _copied(partial(kind, str(error)))) is not None:
            return copy
    return RuntimeError(str(error))


def _copied(make: Callable[[], BaseException]) -> BaseException | None:
    try:
        copy: BaseException = pickle.loads(pickle.dumps(make()))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001 -- then it cannot be
        return None
    return copy
