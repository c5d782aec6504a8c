"""A database of an older version, with all that it may hold, becomes one of this version and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfolio.flows.integrity.verify import run_verify
from pgfolio.schema.database.connect import connect, prepare
from pgfolio.schema.vectors import generations, hnsw, segments
from tests.query_api.library import BREAD, PAGES, RETRIES, make_key, running_api, stock
from tests.schema.search.test_lexemes import migrated_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings


@pytest.fixture
def of_before(postgres: str, new_settings: Callable[..., Settings]) -> Iterator[str]:
    """A database as it was before words, storage kinds, keys and traces, its vectors in two segments."""
    name = sql.Identifier("test_upgrade")
    conninfo = make_conninfo(**conninfo_to_dict(postgres) | {"dbname": "test_upgrade"})  # type: ignore[arg-type]
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(name))
        try:
            migrated_before(conninfo, "0007")
            with connect(conninfo) as connection:  # which today's code, that writes here, asks for
                connection.execute(
                    "alter table sources add column kind text not null default 'folder',"
                    " add column configured boolean not null default false, add column unreachable_since timestamptz,"
                    " add column processing text not null default '',"
                    " add column processed_by text not null default ''"
                )
                connection.execute("alter table ledger rename column recipe to processing_fingerprint")
                connection.execute(
                    "alter table documents add column code_blocks int4multirange, add column incomplete text,"
                    " add column file_offset integer, add column crlf int4multirange, add column pages integer[]"
                )
            stock(conninfo, new_settings())
            with connect(conninfo) as connection:
                connection.execute(
                    "alter table sources drop column kind, drop column configured, drop column unreachable_since,"
                    " drop column processing, drop column processed_by"
                )
                connection.execute("alter table ledger rename column processing_fingerprint to recipe")
                connection.execute(
                    "alter table documents drop column code_blocks, drop column incomplete, drop column file_offset,"
                    " drop column crlf, drop column pages"
                )
            with connect(conninfo) as connection:
                active = generations.active_generation(connection)
                assert active is not None
                added = segments.create(connection, active)
                moved = (
                    "with gone as (delete from only {} where chunk_id <= 3 returning *)"
                    " insert into {} select * from gone"
                )
                connection.execute(
                    sql.SQL(moved).format(sql.Identifier(active.table), sql.Identifier(added.segment_table))
                )
                hnsw.build(connection, added, 16, 64)
                connection.execute(
                    sql.SQL(
                        "insert into kept_vectors (space_id, hash, embedding)"
                        " select space_id, 'kept', (select embedding from {} limit 1) from generations"
                    ).format(sql.Identifier(active.table))
                )
                connection.commit()
            yield conninfo
        finally:
            server.execute(sql.SQL("drop database {} with (force)").format(name))


def test_a_database_of_before_goes_on(of_before: str, new_settings: Callable[..., Settings]) -> None:
    prepare(of_before)
    kinds = {search.kind for search in run_verify(of_before).findings}
    assert kinds <= {"chunk_hash"}, "the library's own hashes are made up"
    with running_api(new_settings(database_url=of_before), of_before) as client:
        for mode in ("hybrid", "vector", "lexical"):
            question = {"query": "how is a failed task retried", "mode": mode, "limit": 50, "explain": True}
            chunk = client.post("/search", json=question).json()
            assert chunk["results"][0]["path"] == RETRIES.path
            assert client.get(f"/traces/{chunk['trace_id']}").status_code == 200
        assert len(
            {
                one["path"]
                for one in client.post("/search", json={"query": "x", "limit": 50}).json()["results"]
            }
        ) == len(PAGES)
    key = make_key(of_before, collections=["manual"])
    with running_api(new_settings(database_url=of_before), of_before) as client:
        client.headers["X-API-Key"] = key
        chunk = client.post("/search", json={"query": "bread", "limit": 50}).json()
        assert BREAD.path not in {one["path"] for one in chunk["results"]}
