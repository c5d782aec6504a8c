"""`python -m tests.bench` prints what the main paths cost, each as a ratio to its floor in the same run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import database
from tests.bench import corpus, measures
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.ratio import Line

ERR = Console(stderr=True, highlight=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Documents to measure with.  [default: 5 MB of generated Markdown]",
)
@click.option(
    "--files",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Small files of the sync that finds nothing to do.",
)
@click.option(
    "--repeat", type=click.IntRange(1), default=5, show_default=True, help="Rounds; the median is shown."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(*, folder: Path | None, files: int, repeat: int, as_json: bool) -> None:
    """Measure the main paths, each as a ratio to its floor: what the same work costs at the very least.

    Uses a Postgres of its own and removes everything it made. A run beside other work shows what the machine
    does, not what pgfolio does; ratios suffer less than seconds.
    """
    without_settings()
    room = new_room()
    lines = _measured(room, folder, files, repeat)
    if as_json:
        print(json.dumps({"repeat": repeat, "lines": [asdict(line) for line in lines]}))
    else:
        Console(highlight=False).print(_table(lines))


def _measured(room: Path, folder: Path | None, files: int, repeat: int) -> list[Line]:
    if folder is None:
        folder = room / "documents"
        corpus.write_markdown(folder)
    corpus.write_notes(room / "notes", files)
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    lines: list[Line] = []
    with database(settings) as conninfo:
        documents = SyncedFolder(settings, conninfo, folder.resolve())
        notes = SyncedFolder(settings, conninfo, room / "notes")
        steps: Sequence[tuple[Callable[[SyncedFolder, int], list[Line]], SyncedFolder]] = (
            (measures.no_op, notes),
            (measures.few_changed, notes),
            (measures.store, documents),
            (measures.first_sync, documents),
            (measures.search, documents),
            (measures.hybrid, documents),
        )
        for measure, place in steps:
            with ERR.status(f"measuring: {measure.__name__.replace('_', ' ')}"):
                lines += measure(place, repeat)
    return lines


def _table(lines: Sequence[Line]) -> Table:
    table = Table("measured", "floor", box=None, pad_edge=False)
    for heading in ("ms", "floor ms", "ratio", "from-to"):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(
            line.name,
            line.floor,
            f"{line.seconds * 1000:,.1f}",
            f"{line.floor_seconds * 1000:,.1f}",
            f"{line.ratio:.2f}",
            f"{line.lowest:.2f}-{line.highest:.2f}",
        )
    return table


if __name__ == "__main__":
    main()
