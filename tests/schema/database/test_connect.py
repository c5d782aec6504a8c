"""The database in use: one that is named, and one that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import DatabaseError, connect, database, prepare
from pgfolio.schema.database.migrate import migrate, pending

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def test_an_external_database_is_migrated(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database bare")
        try:
            settings = load_settings(database_url=psycopg.conninfo.make_conninfo(postgres, dbname="bare"))
            with database(settings) as conninfo, connect(conninfo) as opened:
                assert pending(opened) == []
        finally:
            connection.execute("drop database bare with (force)")


def test_migrating_again_does_nothing(conninfo: str) -> None:
    with connect(conninfo) as connection:
        assert migrate(connection, conninfo) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://127.0.0.1:1/none", "cannot reach the database 127.0.0.1:1/none"),
        ("postgresql://user:secret@127.0.0.1:1/none", "is it running"),
        ("what is this", "not a connection string"),
        ("postgres//app:s3cret@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret/more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret%more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret@more@localhost/x", "not a connection string"),
    ],
)
def test_an_unusable_database_is_a_sentence_without_the_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as caught:
        prepare(url)
    assert "secret" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_older_pgvector_is_refused(conninfo: str, settings: Settings) -> None:
    with connect(conninfo) as connection:
        connection.execute("update pg_extension set extversion = '0.8.3' where extname = 'vector'")
    with pytest.raises(DatabaseError, match=r"0\.8\.3 is too old: 0\.8\.4"), database(settings):
        pass
