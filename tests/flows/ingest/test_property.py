"""Applying the plan to an old tree gives what a fresh sync of the new tree gives, for any trees and any edits."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.flows.library import GRAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings

Tree = dict[str, str]
PARAGRAPHS = [
    f"Paragraph {n} tells of {word}." for n, word in enumerate(["rain", "sun", "wind", "snow", "fog"])
]
PATHS = ["a.md", "b.md", "c.txt", "d/a.md", "d/b.md", "d/e/f.md", "g/a.md", "bad.pdf"]

texts = st.lists(
    st.sampled_from([*PARAGRAPHS, "# Weather", "## Later", " ".join(PARAGRAPHS * 40)]), max_size=5
).map("\n\n".join)
trees = st.dictionaries(st.sampled_from(PATHS), texts, max_size=6)
edits = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "move", "copy", "touch", "swap"]),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
        texts,
    ),
    max_size=6,
)


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def edit(root: Path, kind: str, one: str, other: str, text: str) -> None:
    first, second = root / one, root / other
    if kind == "write":
        put(root, one, text)
    elif not first.exists():
        return
    elif kind == "delete":
        first.unlink()
    elif kind == "touch":
        first.touch()
    elif one != other:
        second.parent.mkdir(parents=True, exist_ok=True)
        if kind == "copy":
            shutil.copy2(first, second)
        elif kind == "move":
            first.rename(second)
        elif second.exists():
            aside = root / "aside"
            first.rename(aside)
            second.rename(first)
            aside.rename(second)


def sync(settings: Settings, conninfo: str, root: Path) -> None:
    time.sleep(GRAIN)
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(root), name="tree")
    run_sync(settings, conninfo, [source], Options(approve_deletes=1000))


def stored(conninfo: str) -> list[tuple[Any, ...]]:
    """All that a reader can find, and what the ledger says, without ids and times."""
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        ledger = connection.execute(
            "select path, encode(content_hash, 'hex'), chunk_count, state, stage, reason, "
            "document_id is not null from ledger order by path"
        ).fetchall()
        if generation is None:
            return ledger
        query = sql.SQL(
            "select d.path, d.title, d.text, encode(d.content_hash, 'hex'), c.ordinal, c.content, c.heading, "
            "c.start_at, c.end_at, encode(c.hash, 'hex'), v.embedding::text "
            "from documents d left join chunks c on c.document_id = d.id left join {} v on v.chunk_id = c.id "
            "order by d.path, c.ordinal"
        ).format(sql.Identifier(generation.table))
        return ledger + connection.execute(query).fetchall()


@given(old=trees, changes=st.lists(edits, min_size=1, max_size=3))
@hypothesis_settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_syncing_edits_gives_what_a_fresh_sync_gives(
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
    old: Tree,
    changes: list[list[tuple[str, str, str, str]]],
) -> None:
    """`bad.pdf` is in quarantine whenever it is there: it has no earlier version that could stay."""
    with tempfile.TemporaryDirectory() as folder, new_database() as one, new_database() as fresh:
        root = Path(folder)
        for path, text in old.items():
            put(root, path, text)
        settings = new_settings(database_url=one)
        sync(settings, one, root)
        for round_of in changes:
            for kind, first, second, text in round_of:
                edit(root, kind, first, second, text)
            sync(settings, one, root)
        sync(new_settings(database_url=fresh), fresh, root)
        assert stored(one) == stored(fresh)
