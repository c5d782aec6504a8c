"""What one request's stages took and what they counted, for its log line and the metrics. Costs nothing where nobody
asked for it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pgfolio.config import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

Stage = Literal["embed", "retrieve", "rerank", "model"]
"""The question's vector; ranking and reading chunks, with the wait for a connection; the second pass; the answer of
the chat model."""


@dataclass(slots=True)
class RequestRecord:
    """Of one request."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    fault: str = ""
    """Of the server: what went wrong, and where."""


_CURRENT: ContextVar[RequestRecord | None] = ContextVar("record", default=None)


def begin() -> RequestRecord:
    """The record of the request that this task answers; tasks that it starts write to the same one."""
    record = RequestRecord()
    _CURRENT.set(record)
    return record


def took_ms(began: float) -> float:
    """Milliseconds since a reading of time.perf_counter()."""
    return round((time.perf_counter() - began) * 1000, 3)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Adds the time inside, waiting in it."""
    began = time.perf_counter()
    try:
        with telemetry.span(name):
            yield
    finally:
        if (record := _CURRENT.get()) is not None:
            record.seconds[name] = record.seconds.get(name, 0.0) + time.perf_counter() - began


def seconds() -> dict[str, float]:
    """What the stages of this request took until now, and will have taken."""
    record = _CURRENT.get()
    return {} if record is None else record.seconds


def record_fault(fault: str) -> bool:
    """Whether there is a record to tell it."""
    record = _CURRENT.get()
    if record is not None:
        record.fault = fault
    return record is not None


def count(name: str) -> None:
    if (record := _CURRENT.get()) is not None:
        record.counts[name] += 1
