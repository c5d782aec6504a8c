"""What workers do: a job is opened once in each process, and then given one item after another."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from contextlib import AbstractContextManager

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class OpenJob(Protocol[ItemT_contra, ResultT_co]):
    """A job in one process. Called by as many threads as the job has slots."""

    def __call__(self, item: ItemT_contra) -> ResultT_co: ...

    def stop(self) -> None:
        """End every wait now: nothing more will be asked."""


class Job(Protocol[ItemT, ResultT_co]):
    """Is pickled, as items and results are. An item may be done twice: when a worker ended before its result was
    here."""

    @property
    def slots(self) -> int:
        """Items that one process does at once."""

    def open(self) -> AbstractContextManager[OpenJob[ItemT, ResultT_co]]: ...

    def weight(self, item: ItemT) -> int:
        """Bytes, about."""

    def parts(self, item: ItemT) -> list[ItemT]:
        """Smaller ones, to be tried apart after workers have ended over it; empty: it is the smallest."""

    def give_up(self, item: ItemT) -> ResultT_co:
        """Called in the run's own process for a smallest one over which several workers have ended."""


@dataclass(frozen=True, slots=True)
class Done(Generic[ResultT]):
    """A result, and who made it."""

    worker: str
    result: ResultT


class Executor(Protocol):
    """Runs jobs, one at a time."""

    processes: int
    """Among which the items are divided."""

    def run(self, job: Job[ItemT, ResultT], items: Iterable[ItemT]) -> Generator[Done[ResultT]]:
        """Results in any order. Items are taken one by one, few ahead of the work, and together no heavier than
        MAX_WEIGHT, but for one that is alone. What one raises is raised, and the others are stopped."""

    def close(self) -> None: ...


def process_name() -> str:
    """Of this process among those of all machines."""
    return f"{socket.gethostname()}/{os.getpid()}"


MAX_WEIGHT = 32 * 1024 * 1024
"""Bytes of the items that are worked on at once."""
