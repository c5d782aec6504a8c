"""`python -m tests.bench.fusion SET [SET ...]` prints nDCG@10 by vectors, by words and by both, of labelled sets.

A set is a folder with `docs/` and `queries.jsonl`, as `pgfolio eval` reads it. Each is synced with the defaults into
a database of its own. What hybrid is below the better arm is what fusing has cost.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.query_api.evaluation.evaluate import VARIANTS, evaluate, read_labelled
from pgfolio.schema.database.connect import database, prepare
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.databases import empty_database
from tests.environment import without_settings

OUT = Console(highlight=False)
LIMIT = 10


@click.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def main(folders: tuple[Path, ...]) -> None:
    """Prints a row for each set, and their mean."""
    without_settings()
    table = Table(box=None, pad_edge=False)
    for heading in ("set", "queries", "vectors", "words", "hybrid", "rrf", "hybrid - better arm"):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    found = []
    with database(load_settings(home=new_room())) as conninfo:
        for number, folder in enumerate(folders):
            queries, quality = measured(folder, conninfo, f"set_{number}")
            found.append(quality)
            _add(table, folder.name, str(queries), quality)
    _add(table, "mean", "", np.mean(found, axis=0))
    OUT.print(table)


def measured(folder: Path, server: str, name: str) -> tuple[int, np.ndarray]:
    """The number of queries, and nDCG@10 of each way."""
    labelled = read_labelled(folder / "queries.jsonl")
    with empty_database(server, name) as conninfo:
        prepare(conninfo)
        settings = load_settings(database_url=conninfo)
        SyncedFolder(settings, conninfo, folder / "docs").sync()
        return len(labelled), np.array(
            [q.ndcg for q in evaluate(settings, labelled, VARIANTS, LIMIT).values()]
        )


def _add(table: Table, name: str, queries: str, quality: np.ndarray) -> None:
    vectors, words, hybrid, _ = quality
    shown = [f"{value:.3f}" for value in quality]
    table.add_row(name, queries, *shown, f"{hybrid - max(vectors, words):+.3f}")


if __name__ == "__main__":
    main()
