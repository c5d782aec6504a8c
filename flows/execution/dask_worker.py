"""A worker of a Dask cluster: in its process. Keeps a run's job open between items, and closes it when nobody
asks."""

from __future__ import annotations

import time
from contextlib import ExitStack
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, NamedTuple

from pgfolio.flows.execution.worker_process import copyable

if TYPE_CHECKING:
    from pgfolio.flows.execution.job import Job, OpenJob

IDLE_SECONDS = 60.0
"""After so many without an item a job is closed: whoever gave it may be gone."""


class TaskAnswer(NamedTuple):
    """`error`: raised by what all items need."""

    worker: str
    result: Any = None
    error: BaseException | None = None


class _OpenedJob:
    """An open job."""

    def __init__(self, job: Job[Any, Any]) -> None:
        self.busy = 0
        self.used = time.monotonic()
        self._opened = ExitStack()
        self.work: OpenJob[Any, Any] = self._opened.enter_context(job.open())

    def close(self) -> None:
        self.work.stop()
        self._opened.close()


_OPEN: dict[str, _OpenedJob] = {}
_LOCK = Lock()


def work(key: str, job: Job[Any, Any], item: Any) -> TaskAnswer:
    """What a task does."""
    from distributed import get_worker  # noqa: PLC0415 -- an extra

    name = str(get_worker().name)
    try:
        opened = _taken(key, job)
    except BaseException as error:  # noqa: BLE001 -- it is the run's to know
        return TaskAnswer(name, error=copyable(error))
    try:
        return TaskAnswer(name, opened.work(item))
    except BaseException as error:  # noqa: BLE001 -- as above
        return TaskAnswer(name, error=copyable(error))
    finally:
        with _LOCK:
            opened.busy -= 1
            opened.used = time.monotonic()


def close(key: str) -> None:
    """The run is over."""
    with _LOCK:
        opened = _OPEN.pop(key, None)
    if opened is not None:
        opened.close()


def package_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 -- told once

    return version("pgfolio")


def _taken(key: str, job: Job[Any, Any]) -> _OpenedJob:
    with _LOCK:
        if key not in _OPEN:
            _OPEN[key] = _OpenedJob(job)
            _close_when_idle(key)
        opened = _OPEN[key]
        opened.busy += 1
        return opened


def _close_when_idle(key: str) -> None:
    timer = Timer(IDLE_SECONDS, _check, (key,))
    timer.daemon = True
    timer.start()


def _check(key: str) -> None:
    with _LOCK:
        opened = _OPEN.get(key)
        idle = opened is not None and not opened.busy and time.monotonic() - opened.used >= IDLE_SECONDS
        if idle:
            del _OPEN[key]
    if opened is not None and idle:
        opened.close()
    elif opened is not None:
        _close_when_idle(key)
