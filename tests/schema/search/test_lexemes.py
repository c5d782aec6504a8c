"""What a text is found by, as the database says."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import yoyo as untyped
from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.corpus import word_statistics
from pgfolio.schema.corpus.languages import CONFIGURATIONS, SIMPLE
from pgfolio.schema.database.connect import connect, prepare
from pgfolio.schema.database.define import texts
from pgfolio.schema.database.migrate import FOLDER
from tests.databases import empty_database

yoyo: Any = untyped


def lexemes(conninfo: str, text: str, language: str = "english") -> set[str]:
    with connect(conninfo) as connection:
        row = connection.execute(
            "select tsvector_to_array(lexemes_of(%s::regconfig, %s))", [language, text]
        ).fetchone()
        assert row is not None
        return set(row[0])


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The houses", "english", {"hous"}),
        ("Die Häuser", "german", {"haus", "häuse*"}),
        ("Druckerwarteschlange 1.5x", "german", {"druckerwarteschlang", "druck*", "1", "5x", "1.5x"}),
        ("kirjoittimen ja", "finnish", {"kirjoittim", "kirjo*"}),
        ("Принтеры и принтер", "russian", {"принтер", "принт*"}),
        ("die Häuser", "simple", {"die", "häuser"}),
        ("PREFECT_API_URL", "english", {"prefect", "api", "url", "prefect_api_url"}),
        ("flow.serve()", "english", {"flow", "serv", "flow.serve"}),
        ("ERR-1042.", "english", {"err", "1042", "err-1042"}),
        ("/etc/pg_hba.conf", "english", {"etc", "pg", "hba", "conf", "pg_hba.conf", "etc/pg_hba.conf"}),
        ("Drukarkę i druk", "polish", {"druka", "i", "druk"}),
        ("принтери", "ukrainian", {"принт"}),
        ("nastavení_sítě v2024beta", "czech", {"nasta", "sítě", "nastavení_sítě", "v2024beta"}),
        ("重试策略", "simple", {"重试", "试策", "策略"}),
        ("水", "simple", {"水"}),
        ("使用API_KEY设置", "simple", {"使用", "设置", "api", "key", "api_key"}),
        ("작업을", "simple", {"작업", "업을"}),
        ("ｱｲｳ", "simple", {"アイ", "イウ"}),
        ("ﬁle re\u00adtry cafe\u0301", "simple", {"file", "retry", "café"}),
        (
            "re\u200btry \u2060pre\u200dfect\ufeff_api\u200c_url now",
            "simple",
            {"retry", "prefect", "api", "url", "prefect_api_url", "now"},
        ),
        ("Auf\u200clage \u200b x\u200by", "german", {"auflag", "aufla*", "xy"}),
        ("AT&T or R&D, he & she", "english", {"at&t", "d", "r", "r&d"}),
        ("e.g. and/or", "simple", {"e", "g", "and", "or", "and/or"}),
        ("", "english", set()),
    ],
)
def test_a_text_is_found_by(conninfo: str, text: str, language: str, expected: set[str]) -> None:
    assert lexemes(conninfo, text, language) == expected


def test_there_is_a_configuration_for_every_language(conninfo: str) -> None:
    with connect(conninfo) as connection:
        known = {name for (name,) in connection.execute("select cfgname from pg_ts_config").fetchall()}
    assert set(CONFIGURATIONS.values()) | {SIMPLE} == known


def test_a_configuration_that_is_there_is_taken_as_it_is(postgres: str) -> None:
    """As those have who installed a dictionary."""
    with empty_database(postgres, "test_own_configuration") as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("create text search configuration polish (copy = english)")
        prepare(conninfo)
        assert lexemes(conninfo, "houses", "polish") == {"hous"}
        assert lexemes(conninfo, "houses", "czech") == {"house"}


def test_lexemes_are_made_whatever_the_search_path_is(conninfo: str) -> None:
    with connect(conninfo) as connection:
        connection.execute("set search_path = ''")
        row = connection.execute("select public.lexemes_of('english', '重试 a_b.c')").fetchone()
        assert row is not None
        assert "重试" in row[0]


@pytest.mark.parametrize("times", [1, 2, 3, 7, 40])
def test_the_rank_tells_how_often_a_word_stands_in_a_chunk(conninfo: str, times: int) -> None:
    with connect(conninfo) as connection:
        row = connection.execute(
            "select bm25(ts_rank(array[1, 1, 1, 1]::real[], to_tsvector('simple', %s), 'oak'), 100, 100),"
            " bm25(ts_rank(array[1, 1, 1, 1]::real[], to_tsvector('simple', %s), 'elm'), 100, 100)",
            ["oak " * times] * 2,
        ).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(times * 2.2 / (times + 1.2), rel=0.05)
    assert row[1] is None


def test_a_database_of_before_gets_its_lexemes(postgres: str) -> None:
    """One with documents, in all the versions before."""
    with empty_database(postgres, "test_before_words") as conninfo:
        migrated_before(conninfo, "0007")
        with psycopg.connect(conninfo) as old:
            _store_chunk(old, "The houses of PREFECT_API_URL")
        prepare(conninfo)
        with connect(conninfo) as new:
            row = new.execute("select tsvector_to_array(lexemes) from chunks").fetchone()
            assert row == (["api", "hous", "prefect", "prefect_api_url", "url"],)


def test_what_an_ampersand_joins_is_found_in_what_was_stored_before(postgres: str) -> None:
    """The rest is not touched."""
    with empty_database(postgres, "test_before_ampersands") as conninfo:
        migrated_before(conninfo, "0032")
        with psycopg.connect(conninfo) as old:
            old.execute(texts()["lexemes_of"].encode())  # whoever has rows has started since it changed
            _store_chunk(old, "The houses of AT&T")
            old.execute(
                "insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens,"
                " hash, language) values (1, 1, 1, 'The houses of Brindle', '', 0, 1, 1, '', 'english')"
            )
            before = old.execute("select xmin::text from chunks order by ordinal").fetchall()
        prepare(conninfo)
        with connect(conninfo) as new:
            rows = new.execute("select xmin::text, tsvector_to_array(lexemes) from chunks order by ordinal")
            (_, joined), (untouched, plain) = rows.fetchall()
            assert (joined, plain, untouched) == (["at&t", "hous"], ["brindl", "hous"], before[1][0])


def test_a_word_that_was_split_by_a_space_without_width_is_whole_again(postgres: str) -> None:
    """And postings of what it was are gone."""
    with empty_database(postgres, "test_before_zero_width") as conninfo:
        migrated_before(conninfo, "0035")
        with psycopg.connect(conninfo) as old:
            for function in ("names", "prefix_stems", "prefix_terms", "lexemes_of"):
                old.execute(texts()[function].encode())
            _store_chunk(old, "The hou\u200bses")
            old.execute("insert into posting_segments (first_chunk, last_chunk, chunks, chunk_ids, tokens)"
                        " values (1, 1, 1, '', '')")  # fmt: skip
        prepare(conninfo)
        with connect(conninfo) as new:
            row = new.execute(
                "select tsvector_to_array(lexemes), (select count(*) from posting_segments) from chunks"
            )
            assert row.fetchone() == (["hous"], 0)


def test_words_of_before_get_their_beginnings(postgres: str) -> None:
    """Where the language has them; the rest is not touched."""
    with empty_database(postgres, "test_before_beginnings") as conninfo:
        migrated_before(conninfo, "0013")
        with psycopg.connect(conninfo) as old:
            _store_chunk(old, "The houses")
            old.execute(
                "insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens,"
                " hash, language) values (1, 1, 1, 'Die Häuser', '', 0, 1, 1, '', 'german')"
            )
            old.execute("insert into corpus (chunks, tokens) values (2, 1)")
            before = old.execute("select xmin::text from chunks order by ordinal").fetchall()
        prepare(conninfo)
        with connect(conninfo) as new:
            rows = new.execute("select xmin::text, tsvector_to_array(lexemes) from chunks order by ordinal")
            (untouched, english), (_, german) = rows.fetchall()
            assert (untouched, english, german) == (before[0][0], ["hous"], ["haus", "häuse*"])
            assert word_statistics.are_stale(new)


def migrated_before(conninfo: str, first: str) -> None:
    parameters = {key: value for key, value in conninfo_to_dict(conninfo).items() if value is not None}
    backend = yoyo.get_backend("postgresql+psycopg:///?" + urlencode(parameters))
    try:
        every = yoyo.read_migrations(str(FOLDER))
        backend.apply_migrations(every.filter(lambda migration: migration.id < first))
    finally:
        backend.connection.close()


def _store_chunk(connection: psycopg.Connection[Any], content: str) -> None:
    connection.execute("insert into collections (name) values ('c')")
    connection.execute("insert into sources (name, root, collection_id) values ('s', '/s', 1)")
    connection.execute(
        "insert into documents (source_id, collection_id, path, mime, language, content_hash, text, updated_at)"
        " values (1, 1, 'a/b.md', 'text/plain', 'english', '', '', now())"
    )
    connection.execute(
        "insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens, hash,"
        " language) values (1, 1, 0, %s, '', 0, 1, 1, '', 'english')",
        [content],
    )
