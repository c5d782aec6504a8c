"""Pages as pictures: drawn in processes of their own, bounded in time and memory, and kept for a time."""

from __future__ import annotations

import asyncio
import hashlib
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache
from pebble import ProcessExpired, ProcessPool

from pgfolio.config import process_limits

if TYPE_CHECKING:
    from pgfolio.query_api.originals.drawing import Drawn

MAX_READERS: Final = 4
"""Originals that are read at once in a process; others wait for their turn."""

PROCESSES: Final = 2
MAX_PER_PROCESS: Final = 200
TIMEOUT_SECONDS: Final = 10.0
MEMORY_BYTES: Final = 384 * process_limits.MEGABYTE
"""Of one process for one page, beside what it begins with."""

MAX_CACHE_BYTES: Final = 32 * process_limits.MEGABYTE
MAX_FILE_BYTES: Final = 64 * process_limits.MEGABYTE
"""Of a file whose pages are drawn: it is in memory meanwhile."""


class NotDrawnError(Exception):
    """There is no picture of the page; the message says why."""


class NoSuchPageError(Exception):
    """The document has no such page."""


class PageOrder(NamedTuple):
    """What is to be drawn. `occurrence`: of a passage that stands on the page several times."""

    content_hash: bytes
    number: int
    width: int
    passage: str
    occurrence: int

    @property
    def key(self) -> bytes:
        named = repr((self.number, self.width, self.passage, self.occurrence)).encode(
            "utf-8", "backslashreplace"
        )
        return hashlib.sha256(self.content_hash + named).digest()


class Pictures:
    """The processes start with the first page."""

    def __init__(self) -> None:
        self._pool: ProcessPool | None = None
        self._cache: LRUCache[bytes, Drawn] = LRUCache(
            MAX_CACHE_BYTES, getsizeof=lambda drawn: len(drawn.png)
        )
        self.readers = asyncio.Semaphore(MAX_READERS)
        self._turns = asyncio.Semaphore(PROCESSES)

    def drawn_before(self, order: PageOrder) -> Drawn | None:
        return self._cache.get(order.key)

    async def draw(self, data: bytes, order: PageOrder) -> Drawn:
        """Raises NotDrawnError, NoSuchPageError."""
        async with self._turns:
            arguments = (data, order.number, order.width, order.passage, order.occurrence)
            future = self._started().schedule(_attempt, args=arguments, timeout=TIMEOUT_SECONDS)
            try:
                drawn, reason, is_missing = await asyncio.wrap_future(future)
            except TimeoutError as error:
                raise NotDrawnError(f"the page is not drawn within {TIMEOUT_SECONDS:g} s") from error
            except ProcessExpired as error:
                cause = process_limits.cause_of_death(error.exitcode, MEMORY_BYTES)
                raise NotDrawnError(f"the page cannot be drawn: {cause}") from error
        if drawn is None:
            raise (NoSuchPageError if is_missing else NotDrawnError)(reason)
        if len(drawn.png) <= MAX_CACHE_BYTES // 4:
            self._cache[order.key] = drawn
        return drawn

    def close(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()

    def _started(self) -> ProcessPool:
        if self._pool is None:
            self._pool = ProcessPool(
                PROCESSES,
                max_tasks=MAX_PER_PROCESS,
                initializer=process_limits.prepare_process,
                context=get_context("spawn"),
            )
        return self._pool


def _attempt(
    data: bytes, number: int, width: int, passage: str, occurrence: int
) -> tuple[Drawn | None, str, bool]:
    """In the process: the picture, or why there is none, and whether there is no such page."""
    from pgfolio.query_api.originals import drawing  # noqa: PLC0415 -- pdfium is loaded in these processes alone

    try:
        with process_limits.bounded_memory(MEMORY_BYTES):
            return drawing.draw(data, number, width, passage, occurrence), "", False
    except MemoryError:
        return None, process_limits.too_much(MEMORY_BYTES), False
    except drawing.UndrawableError as error:
        return None, str(error.args[0]), error.is_missing
    except Exception as error:  # noqa: BLE001 -- whatever a broken file makes of its reader
        return None, f"the page cannot be drawn ({type(error).__name__})", False
