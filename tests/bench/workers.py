"""`python -m tests.bench.workers` shows what the first sync of a folder takes with one worker and with several: where
the CPU's seconds go, what of them only one thread can do, and what all processes have in memory together."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database
from tests.bench import corpus
from tests.bench.memory import shared_out_mb
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_SECONDS = 0.25


@dataclass
class Line:
    """Of one number of workers. CPU seconds: of the driver, of the process that workers are forked from and the
    workers, of PostgreSQL. `serial`: the driver's part of all. `memory_mb`: what was used at most, pages that are
    shared counted once; without PostgreSQL's."""

    workers: int
    seconds: float = 0.0
    driver: float = 0.0
    worker: float = 0.0
    postgres: float = 0.0
    memory_mb: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def serial(self) -> float:
        return self.driver / (self.driver + self.worker + self.postgres)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Documents.")
@click.option(
    "--files", type=click.IntRange(1), default=2000, show_default=True, help="Made without a folder."
)
@click.option("--workers", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(*, folder: Path | None, files: int, workers: tuple[int, ...], as_json: bool) -> None:
    """First syncs, each into an empty database. Uses a Postgres of its own and removes everything it made."""
    without_settings()
    room = new_room()
    if folder is None:
        folder = room / "folder"
        corpus.write_markdown(folder, files)
    settings = load_settings(home=room / "home")
    lines = []
    with database(settings) as conninfo:
        for number in workers:
            chosen = settings.model_copy(
                update={"sync": settings.sync.model_copy(update={"workers": number})}
            )
            lines.append(_measured(SyncedFolder(chosen, conninfo, folder), number))
    if as_json:
        click.echo(json.dumps({"lines": [{**asdict(line), "serial": line.serial} for line in lines]}))
    else:
        Console().print(_table(lines))


def _measured(place: SyncedFolder, workers: int) -> Line:
    place.clear()
    line = Line(workers)
    with connect(place.conninfo, autocommit=True) as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server is not None
    before = _driver(), _workers(), _postgres(server)
    with _watched(line):
        began = time.perf_counter()
        report = place.synced()
        line.seconds = time.perf_counter() - began
    time.sleep(0.5)  # the last ones are waited for
    line.driver, line.worker, line.postgres = (
        after - earlier
        for after, earlier in zip((_driver(), _workers(), _postgres(server)), before, strict=True)
    )
    line.stages = {stage: round(seconds, 2) for stage, seconds in report.seconds.items() if stage != "total"}
    return line


def _driver() -> float:
    """The thread that hands out, which is this one; another looks at the memory."""
    return time.thread_time()


def _workers() -> float:
    """Of the process that workers are forked from, and of those that ended."""
    return sum(_all(server) for server in _fork_servers())


def _postgres(server: psutil.Process) -> float:
    return _all(server) + sum(_own(child) for child in server.children())


def _fork_servers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "forkserver" in " ".join(child.cmdline())]


def _all(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


@contextmanager
def _watched(line: Line) -> Iterator[None]:
    done = threading.Event()

    def look() -> None:
        while not done.wait(SAMPLE_SECONDS):
            line.memory_mb = max(line.memory_mb, shared_out_mb())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _table(lines: list[Line]) -> Table:
    table = Table(
        "workers",
        "seconds",
        "driver CPU",
        "workers CPU",
        "PostgreSQL CPU",
        "serial",
        "memory",
        "stages",
        box=None,
    )
    for line in lines:
        table.add_row(
            str(line.workers),
            f"{line.seconds:.2f}",
            f"{line.driver:.2f}",
            f"{line.worker:.2f}",
            f"{line.postgres:.2f}",
            f"{line.serial:.1%}",
            f"{line.memory_mb:.0f} MB",
            ", ".join(f"{stage} {seconds:g}" for stage, seconds in line.stages.items()),
        )
    return table


if __name__ == "__main__":
    main()
