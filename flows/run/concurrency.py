"""Running stages side by side in bounded memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
    *,
    weight: Callable[[Item], int] = lambda _: 0,
    max_weight: int = 1,
) -> Iterator[Result]:
    """Results in the order of the items, with at most `window` items worked on ahead of the one taken, that together
    weigh no more than `max_weight`; one that weighs as much by itself has no other beside it.

    An error is raised where its result would have come.
    """
    pending: deque[tuple[Future[Result], int]] = deque()
    for item in items:
        own = weight(item)
        while pending and sum(other for _, other in pending) + own > max_weight:
            yield pending.popleft()[0].result()
        pending.append((pool.submit(work, item), own))
        del item  # a large one is not kept while the next is made
        while pending and (len(pending) >= window or sum(other for _, other in pending) >= max_weight):
            yield pending.popleft()[0].result()
    while pending:
        yield pending.popleft()[0].result()


@contextmanager
def workers(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops what has not begun when it is left."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
