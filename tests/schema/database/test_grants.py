"""`pgfolio grants`, run as it is printed: real roles, each of which does its part of the job and no more."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfolio.schema.database.connect import connect, database, prepare
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.grants import Roles, grants
from tests.job import check_answers, do_job, library_folder, synced
from tests.query_api.auth.test_keys import pgfolio
from tests.query_api.library import make_key, running_api
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings

ROLES = Roles("test owner", "test-writer", 'test"reader')
"""Names that need quotes."""

TABLES = (
    "select relname, relowner::regrole::text from pg_class where relname like 'vectors%' and relkind = 'r'"
)


@pytest.fixture
def roles(conninfo: str) -> Iterator[Roles]:
    yield ROLES
    drop_roles(conninfo)


def drop_roles(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        for name in ROLES:
            if connection.execute("select from pg_roles where rolname = %s", [name]).fetchone():
                for text in ("reassign owned by {} to postgres", "drop owned by {}", "drop role {}"):
                    connection.execute(sql.SQL(text).format(sql.Identifier(str(name))))


def grant(conninfo: str, roles: Roles) -> None:
    """As an administrator pipes it into psql."""
    with connect(conninfo) as connection:
        text = grants(connection, roles)
    with psycopg.connect(conninfo) as connection:
        connection.execute(text.encode())


def as_role(conninfo: str, role: str | None) -> str:
    return make_conninfo(conninfo, user=role)


def test_the_whole_job_is_done_by_owner_then_writer_with_the_reader_as_api(
    conninfo: str, roles: Roles, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    grant(conninfo, roles)
    owner, writer, reader = (
        new_settings(database_url=as_role(conninfo, role), index={"keep_generations_days": 0})
        for role in roles
    )
    for folder in ("owner", "writer"):
        (tmp_path / folder).mkdir()
    with database(owner) as as_owner:
        assert synced(owner, as_owner, library_folder(tmp_path / "owner")) == {"added": 2}
    grant(conninfo, roles)  # the owner's generation becomes the writer's
    do_job(writer, reader, library_folder(tmp_path / "writer"))
    with psycopg.connect(conninfo) as connection:
        assert {owner for _, owner in connection.execute(TABLES)} == {
            sql.Identifier(roles.writer).as_string()
        }


def test_new_tables_of_generations_are_readable_at_once(
    conninfo: str, roles: Roles, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    grant(conninfo, roles)
    writer = new_settings(database_url=as_role(conninfo, roles.writer))
    with database(writer) as as_writer:
        synced(writer, as_writer, library_folder(tmp_path))
    with psycopg.connect(as_role(conninfo, roles.reader)) as connection:
        tables = [name for name, _ in connection.execute(TABLES)]
        assert tables
        for name in tables:
            connection.execute(sql.SQL("select from {}").format(sql.Identifier(name)))


def rights(conninfo: str, role: str) -> set[tuple[str, str]]:
    """Which tables a role may write, and how."""
    with psycopg.connect(conninfo) as connection:
        return set(
            connection.execute(
                "select relname, p from pg_class, unnest(array['insert', 'update', 'delete', 'truncate']) p"
                " where relkind = 'r' and relnamespace = 'public'::regnamespace"
                " and (has_table_privilege(%(r)s, oid, p)"
                "      or p in ('insert', 'update') and has_any_column_privilege(%(r)s, oid, p))",
                {"r": role},
            )
        )


def test_every_table_and_sequence_is_granted(conninfo: str, roles: Roles) -> None:
    grant(conninfo, roles)
    with psycopg.connect(conninfo) as connection:
        connection.execute("create table of_another_application (id integer)")
        for role in (roles.writer, roles.reader):
            hidden = connection.execute(
                "select relname from pg_class where relkind in ('r', 'S') and relnamespace = 'public'::regnamespace"
                " and not has_table_privilege(%s, oid, 'select') order by relname",
                [role],
            ).fetchall()
            tables = [name for (name,) in hidden if not name.endswith(("_seq", "_ids"))]
            assert tables == ["of_another_application"]


def test_the_reader_writes_traces_pushes_requests_and_the_use_of_keys(conninfo: str, roles: Roles) -> None:
    grant(conninfo, roles)
    assert rights(conninfo, roles.reader) == {
        ("traces", "insert"), ("traces", "update"), ("traces", "delete"),
        ("pushes", "insert"), ("collections", "insert"), ("sources", "insert"),
        ("requests", "insert"), ("requests", "update"), ("requests", "delete"), ("api_keys", "update"),
    }  # fmt: skip
    assert {table for table, _ in rights(conninfo, roles.writer)}.isdisjoint(
        {"api_keys", "functions", "_yoyo_migration"}
    )


def test_the_reader_is_the_api_of_everything_but_keys(
    conninfo: str, roles: Roles, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = new_settings(database_url=conninfo)
    synced(settings, conninfo, library_folder(tmp_path))
    grant(conninfo, roles)
    key = make_key(conninfo, "admin")
    reader = as_role(conninfo, roles.reader)
    with running_api(new_settings(database_url=reader), reader) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        check_answers(client)
        trace = client.post("/search", json={"query": "stripes"}).json()["trace_id"]
        assert client.get(f"/traces/{trace}").status_code == 200
        pushed = client.post("/documents", json={"title": "a", "content": "b", "collection": "new"})
        assert pushed.status_code == 202, pushed.text
        assert client.delete(pushed.headers["Location"]).status_code == 204
        asked = client.post("/sources/library/sync")
        assert asked.status_code == 202, asked.text
        assert client.get("/keys").status_code == 200
        refused = check(client.post("/keys", json={"name": "x"}), 503, "database-unavailable")
        assert "pgfolio grants" in refused["detail"]
        assert client.get("/health/ready").json()["degraded"] == []


def test_a_role_reads_no_document_through_what_removes_pushes(conninfo: str, roles: Roles) -> None:
    """It has its owner's rights: a caller's temporary tables must not stand in for the real ones."""
    grant(conninfo, roles)
    with psycopg.connect(conninfo) as connection:
        connection.execute("insert into collections (name) values ('a')")
        connection.execute("insert into sources (name, root, collection_id) values ('a', '/a', 1)")
        connection.execute(
            "insert into documents (source_id, collection_id, path, mime, language, content_hash, text, updated_at)"
            " values (1, 1, 'a', '', 'english', '', '', now())"
        )
    with psycopg.connect(as_role(conninfo, roles.reader)) as connection:
        connection.execute("create temporary table pushes (id bigint, source_id integer, path text)")
        connection.execute("insert into pushes values (1, 1, 'a')")
        assert connection.execute("select remove_push(1, null)").fetchone() == (False,)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select count(*) from documents").fetchone() == (1,)
        connection.execute("create role stranger")
        connection.execute("set local role stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select remove_push(1, null)")


def test_roles_that_do_not_own_the_tables_are_told_who_migrates(conninfo: str, roles: Roles) -> None:
    grant(conninfo, roles)
    with psycopg.connect(conninfo) as connection:
        connection.execute("update functions set digest = '' where name = 'bm25'")
    for role in (roles.writer, roles.reader):
        with pytest.raises(
            DatabaseError, match=r"lacks the function bm25 .* run `pgfolio migrate` as the role"
        ):
            prepare(as_role(conninfo, role))
    prepare(as_role(conninfo, roles.owner))
    prepare(as_role(conninfo, roles.reader))


def test_the_command_prints_it_and_changes_nothing(conninfo: str) -> None:
    done = pgfolio(conninfo, "grants", "--reader", "the reader")
    assert done.returncode == 0, done.stderr
    assert 'grant select on table "public"."_yoyo_log"' in done.stdout
    assert '"the reader"' in done.stdout
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select from pg_roles where rolname = 'the reader'").fetchone() is None
    same = pgfolio(conninfo, "grants", "--reader", "pgfolio_writer")
    assert (same.returncode, "three roles" in same.stderr) == (1, True)


def test_a_server_that_only_reads_writes_nothing(
    conninfo: str, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = new_settings(database_url=conninfo, api={"read_only": True})
    synced(settings, conninfo, library_folder(tmp_path))
    key = make_key(conninfo, "admin")
    with unwritten(conninfo), running_api(settings, conninfo) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        check_answers(client)
        trace = client.post("/search", json={"query": "stripes"}).json()["trace_id"]
        check(client.get(f"/traces/{trace}"), 404, "unknown-trace")
        for method, url, body in (
            ("POST", "/documents", {"title": "a", "content": "b"}),
            ("DELETE", "/documents/1", None),
            ("POST", "/sources/library/sync", None),
            ("POST", "/sources/library/forget", None),
            ("POST", "/keys", {"name": "x"}),
            ("DELETE", "/keys/1", None),
        ):
            problem = check(client.request(method, url, json=body), 403, "read-only")
            assert "PGFOLIO_API__READ_ONLY" in problem["detail"]
        for url in ("/keys", "/requests", "/status", "/documents", "/collections"):
            assert client.get(url).status_code == 200, url
        assert client.get("/health/ready").json()["degraded"] == []


@contextmanager
def unwritten(conninfo: str) -> Iterator[None]:
    def written() -> list[tuple[object, ...]]:
        with psycopg.connect(conninfo) as connection:
            connection.execute("select pg_stat_force_next_flush()")
            return connection.execute(
                "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables order by relname"
            ).fetchall()

    before = written()
    yield
    assert written() == before
