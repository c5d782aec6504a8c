"""A folder that keeps changing, the command that syncs it and is killed, and what must be true after every kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from psycopg import sql

from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.programs import pgfolio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.schema.database.connect import Connection

WORDS = [
    "river",
    "stone",
    "cloud",
    "lamp",
    "window",
    "bridge",
    "garden",
    "winter",
    "letter",
    "morning",
    "paper",
    "island",
]
HALF = """
select d.path from documents d
left join ledger l on l.source_id = d.source_id and l.path = d.path
where l.document_id is distinct from d.id or l.content_hash <> d.content_hash
   or l.chunk_count <> (select count(*) from chunks c join {vectors} v on v.chunk_id = c.id
                        where c.document_id = d.id)
   or exists (select from chunks c where c.document_id = d.id
              and substr(d.text, c.start_at + 1, c.end_at - c.start_at) <> c.content)
   or (select max(c.ordinal) + 1 from chunks c where c.document_id = d.id) <> l.chunk_count
union all
select l.path from ledger l where l.state = 'ok' and not exists (select from documents d where d.id = l.document_id)
union all
select 'chunk ' || c.id from chunks c full join {vectors} v on v.chunk_id = c.id
where c.id is null or v.chunk_id is null
"""
"""One statement, one snapshot: documents that a reader finds half done, and whatever belongs to nothing."""

STORED = """
select d.path, d.title, md5(d.text), encode(d.content_hash, 'hex'), c.ordinal, md5(c.content), c.heading, c.start_at,
       c.end_at, encode(c.hash, 'hex'), md5(v.embedding::text), l.chunk_count, l.state
from documents d
join ledger l on l.source_id = d.source_id and l.path = d.path
left join chunks c on c.document_id = d.id
left join {vectors} v on v.chunk_id = c.id
order by d.path, c.ordinal
"""


@dataclass
class Tree:
    """Documents of 5 to 40 KB, many enough for several transactions a sync; each text stands in one place only,
    but for copies."""

    root: Path
    chosen: random.Random
    made: int = 0

    @classmethod
    def grown(cls, root: Path, seed: int, count: int) -> Self:
        root.mkdir()
        tree = cls(root, random.Random(seed))
        tree.grow(count)
        return tree

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            self.write(f"part{self.made % 5}/doc{self.made:04}.md")

    def write(self, path: str) -> None:
        sections = [self.section(n) for n in range(self.chosen.randint(6, 45))]
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# Document {self.chosen.random()}\n\n" + "\n\n".join(sections) + "\n")

    def section(self, number: int) -> str:
        words = " ".join(self.chosen.choices(WORDS, k=120))
        return f"## Section {number} of {self.chosen.random()}\n\n{words}."

    def edit(self) -> None:
        """Adds, changes, moves, copies and removes."""
        files = sorted(path for path in self.root.rglob("*.md"))
        self.chosen.shuffle(files)
        for file in files[:4]:
            file.unlink()
        for file in files[4:8]:
            folder = self.root / f"moved{self.chosen.randint(0, 3)}"
            folder.mkdir(exist_ok=True)
            file.rename(folder / file.name)
        for file in files[8:14]:
            text = file.read_text().split("\n\n")
            text.insert(self.chosen.randrange(1, len(text)), self.section(self.chosen.randrange(1000)))
            file.write_text("\n\n".join(text))
        (self.root / f"copy{self.made}.md").write_text(files[15].read_text())
        self.grow(6)


@dataclass
class Reader:
    """Looks all the time, as a search would, and keeps what it should never have seen."""

    conninfo: str
    reads: int = 0
    seen: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _loop(self) -> None:
        with connect(self.conninfo, autocommit=True) as connection:
            while not self._stop.wait(0.01):
                self.seen += half_done(connection)
                self.reads += 1


def half_done(connection: Connection) -> list[str]:
    return [str(row[0]) for row in _rows(connection, HALF)]


def stored(conninfo: str) -> list[tuple[Any, ...]]:
    """All that a sync makes of a tree, without ids and times."""
    with connect(conninfo) as connection:
        return _rows(connection, STORED)


def _rows(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    generation = generations.active_generation(connection)
    if generation is None:
        return []
    query = sql.SQL(text).format(vectors=sql.Identifier(generation.table))
    return connection.execute(query).fetchall()


@dataclass
class Command:
    """`pgfolio sync` of one folder, in an environment of its own."""

    root: Path
    environment: dict[str, str]

    @property
    def arguments(self) -> tuple[str, ...]:
        return "sync", os.fspath(self.root), "--json", "--approve-deletes", "99"

    def sync(self) -> dict[str, Any]:
        """Undisturbed: its report. A failed one is an error of the test."""
        done = pgfolio(*self.arguments, environment=self.environment)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pgfolio.flows", *self.arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill_after(self, seconds: float) -> bool:
        """Start it and kill it with all its children. False: it was done before."""
        process = self.start()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        process.communicate()
        return False


def wait_until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
