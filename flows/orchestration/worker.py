"""`python -m pgfolio.flows.orchestration.worker POOL LIMIT`: a Prefect worker for the flows of this package, started
by `pgfolio worker`.

It differs from `prefect worker start --type process` in one thing: a run is started with this interpreter at once.
Prefect's own first starts another one that finds out where the run's code is, which takes as long as all the rest,
and the flows are in the installed package.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Any

from prefect.utilities.processutils import command_to_string, setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

WITH_HEALTHCHECK = "--with-healthcheck"


class InstalledJobConfiguration(ProcessJobConfiguration):
    """Runs the engine with the interpreter that this package is installed for."""

    def prepare_for_flow_run(self, *args: Any, **options: Any) -> None:
        self.command = self.command or command_to_string([sys.executable, "-m", "prefect.engine"])
        super().prepare_for_flow_run(*args, **options)


def main() -> None:
    pool, limit = sys.argv[1], int(sys.argv[2])
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    worker = ProcessWorker(work_pool_name=pool, limit=limit or None, create_pool_if_not_found=False)
    worker.job_configuration = InstalledJobConfiguration
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(worker.start(with_healthcheck=WITH_HEALTHCHECK in sys.argv))


if __name__ == "__main__":
    main()
