"""A folder as a source in a database of its own: what tests of the sync write, sync and look at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report

GRAIN = 0.03
"""Seconds after which a file's time is older than the clock's grain, so that its stat is trusted."""

ANIMALS = "# Animals\n\nThe zebra has stripes.\n\n## Cats\n\nThe cat sleeps most of the day.\n"
PLANTS = "# Plants\n\nThe oak grows slowly.\n\n## Moss\n\nMoss likes shade and water.\n"


@dataclass
class Library:
    """A folder as a source, and its syncs."""

    root: Path
    conninfo: str
    settings: Settings

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def sync(self, **options: Any) -> Report:
        time.sleep(GRAIN)
        return self.sync_at_once(**options)

    def sync_at_once(self, **options: Any) -> Report:
        with connect(self.conninfo) as connection:
            source = sources.ensure_source(connection, str(self.root), name="library")
        return run_sync(self.settings, self.conninfo, [source], Options(**options))

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with connect(self.conninfo) as connection:
            generation = generations.active_generation(connection)
            table = sql.Identifier(generation.table if generation else "none")
            return connection.execute(sql.SQL(query).format(vectors=table)).fetchall()

    def stored(self) -> dict[str, list[tuple[str, int]]]:
        """Chunks by path, each with the number of its vectors."""
        by_path: dict[str, list[tuple[str, int]]] = {
            path: [] for (path,) in self.rows("select path from documents order by path")
        }
        for path, content, count in self.rows(
            "select d.path, c.content, (select count(*) from {vectors} v where v.chunk_id = c.id) "
            "from chunks c join documents d on d.id = c.document_id order by d.path, c.ordinal"
        ):
            by_path[path].append((content, count))
        return by_path

    def check(self) -> None:
        """Ledger, documents, chunks and vectors say the same, and every chunk is where it says."""
        assert (
            self.rows(
                "select l.path from ledger l full join documents d on d.source_id = l.source_id and d.path = l.path "
                "where l.state = 'ok' and (d.id is null or d.id <> l.document_id or d.content_hash <> l.content_hash "
                "or l.chunk_count <> (select count(*) from chunks c where c.document_id = d.id)) or l.path is null"
            )
            == []
        )
        assert (
            self.rows(
                "select c.id from chunks c full join {vectors} v on v.chunk_id = c.id "
                "where c.id is null or v.chunk_id is null"
            )
            == []
        )
        assert (
            self.rows(
                "select c.id from chunks c join documents d on d.id = c.document_id "
                "where substr(d.text, c.start_at + 1, c.end_at - c.start_at) <> c.content"
            )
            == []
        )


def counts(report: Report) -> dict[str, int]:
    return {name: count for name, count in report.as_json()["documents"].items() if count}


def long_document(sections: int) -> str:
    words = ("river", "stone", "cloud", "lamp", "window", "bridge")
    return "\n\n".join(
        f"## Section {n}\n\n"
        + " ".join(f"The {words[(n + i) % 6]} number {n * i} is noted here." for i in range(40))
        for n in range(sections)
    )


def small_library(folder: Path, conninfo: str, settings: Settings) -> Library:
    """Of two documents."""
    root = folder / "library"
    root.mkdir()
    library = Library(root, conninfo, settings)
    library.write("animals.md", ANIMALS)
    library.write("garden/plants.md", PLANTS)
    return library
