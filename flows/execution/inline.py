"""Work in the run's own process, by threads: for what is too little to start others for."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from pgfolio.flows.execution.hand_out import Items
from pgfolio.flows.execution.job import Done

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from concurrent.futures import Future

    from pgfolio.flows.execution.hand_out import Ticket
    from pgfolio.flows.execution.job import ItemT, Job, ResultT

WORKER = "this process"


class InlineExecutor:
    processes = 1

    def run(self, job: Job[ItemT, ResultT], items: Iterable[ItemT]) -> Generator[Done[ResultT]]:
        to_do = Items(job, items)
        running: dict[Future[ResultT], Ticket[ItemT]] = {}
        # Left from the last to the first: the job's waits end before its threads are waited for.
        with job.open() as work, ThreadPoolExecutor(job.slots, thread_name_prefix="work") as pool:
            try:
                while True:
                    while len(running) < job.slots and (ticket := to_do.take()):
                        running[pool.submit(work, ticket.item)] = ticket
                        del ticket  # a large one is not kept while the next is made
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        to_do.done(running.pop(future))
                        yield Done(WORKER, future.result())
            finally:
                work.stop()
                pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None: ...
