"""Every kind of damage is found, by its name and alone, and mended without embedding what is still stored."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.remedies import REMEDIES
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.integrity.findings import REASONS
from pgfolio.schema.integrity.verify import document_ranges, texts_of
from pgfolio.schema.vectors import generations, tuning
from pgfolio.schema.vectors.storage import vector_statement
from pgfolio.schema.vectors.tuning import Parameters
from tests.fakes.openai_server import SERVER_ERROR, FakeOpenAI, FaultScenario
from tests.programs import pgfolio

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Source

SUBJECTS = ("oak", "whale", "volcano", "lantern", "glacier", "violin")
STATE = {
    "documents": "select path, title, content_hash, text, collection_id from documents order by path",
    "ledger": "select path, (select path from documents d where d.id = l.document_id), size, mtime_ns, content_hash,"
    " processing_fingerprint, chunk_count, state from ledger l order by 1",
    "chunks": "select path, ordinal, content, c.title, heading, start_at, end_at, c.collection_id, hash,"
    " lexemes::text from chunks c join documents d on d.id = c.document_id order by 1, 2",
    "vectors": "select path, ordinal, v.collection_id, v.embedding::text"
    " from {vectors} v join chunks c on c.id = v.chunk_id join documents d on d.id = c.document_id order by 1, 2",
    "indexes": "select indexname, regexp_replace(indexdef, 'vectors_[0-9]+', 'vectors', 'g') from pg_indexes"
    " where indexname like '%hnsw' or indexname = 'chunks_lexemes' order by 1",
}


@dataclass
class Archive:
    """A folder that was synced with the fake model server, and its database."""

    root: Path
    conninfo: str
    settings: Settings
    server: FakeOpenAI

    def source(self) -> Source:
        with connect(self.conninfo) as connection:
            return sources.ensure_source(connection, str(self.root), name="archive")

    def sync(self) -> None:
        assert run_sync(self.settings, self.conninfo, [self.source()], Options()).status == "complete"

    def execute(self, text: str) -> None:
        """SQL as a superuser past triggers and foreign keys; {vectors} and {index} are the active generation's."""
        with connect(self.conninfo) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(self._formatted(connection, text))

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        with connect(self.conninfo) as connection:
            return connection.execute(self._formatted(connection, text)).fetchall()

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is stored, without the ids that a row made anew gets."""
        return {name: self.rows(query) for name, query in STATE.items()}

    def _formatted(self, connection: Any, text: str) -> Any:
        generation = generations.active_generation(connection)
        assert generation is not None
        names = {
            "vectors": sql.Identifier(generation.table),
            "index": sql.Identifier(generation.index),
            "index_name": sql.Literal(generation.index),
        }
        return sql.SQL(text).format(**names, **PLACES)


@pytest.fixture
def archive(
    tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> Archive:
    root = tmp_path / "archive"
    root.mkdir()
    for n, subject in enumerate(SUBJECTS):
        sections = [
            f"## Part {part}\n\n"
            + " ".join(f"The {subject} of part {part} has sentence {i}." for i in range(12))
            for part in range(3)
        ]
        (root / f"{n}.md").write_text(f"# About the {subject}\n\n" + "\n\n".join(sections) + "\n")
    settings = new_settings(
        database_url=conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "tiny-embedding", "timeout": 2.0, "deadline": 0.5},
        chunking={"tokens": 128, "overlap": 0},
    )
    made = Archive(root, conninfo, settings, openai_server)
    made.sync()
    return made


PART = 6
"""Chunks of each document."""
EVERY = PART * len(SUBJECTS)
PLACES = {
    "first": sql.SQL("(select min(id) from chunks)"),
    "document": sql.SQL("(select id from documents where path = '1.md')"),
}

DAMAGES: dict[str, tuple[str, dict[str, int], int]] = {
    "a document deleted": (
        """delete from {vectors} where chunk_id in (select id from chunks where document_id = {document});
        delete from chunks where document_id = {document}; delete from documents where path = '1.md'""",
        {"document_missing": 1},
        PART,
    ),
    "a document's row lost": (
        "delete from documents where path = '1.md'",
        {"document_missing": 1, "chunk_without_document": PART},
        0,
    ),
    "a ledger row lost": ("delete from ledger where path = '1.md'", {"ledger_missing": 1}, 0),
    "a ledger row moved": ("update ledger set path = 'x.md' where path = '1.md'", {"ledger_path": 1}, 0),
    "another document in the ledger": (
        "update ledger set document_id = 99999 where path = '1.md'",
        {"ledger_document": 1},
        0,
    ),
    "another content hash": (
        "update ledger set content_hash = 'x' where path = '1.md'",
        {"ledger_hash": 1},
        0,
    ),
    "another chunk count": ("update ledger set chunk_count = 1 where path = '1.md'", {"chunk_count": 1}, 0),
    "a chunk lost": (
        "delete from {vectors} where chunk_id = {first}; delete from chunks where id = {first}",
        {"chunk_count": 1},
        1,
    ),
    "a chunk doubled": (
        """insert into chunks (document_id, collection_id, ordinal, content, title, heading, start_at, end_at, tokens,
        hash, language) select document_id, collection_id, ordinal, content, title, heading, start_at, end_at,
        tokens, hash, language from chunks where id = {first}""",
        {"chunk_count": 1, "vector_missing": 1},
        0,
    ),
    "ordinals with a gap": (
        "update chunks set ordinal = 77 where id = {first}",
        {"chunk_order": 1},
        0,
    ),
    "a chunk in another collection": (
        "update chunks set collection_id = 77 where id = {first}",
        {"chunk_collection": 1},
        0,
    ),
    "a chunk's text changed": (
        "update chunks set content = 'x' where id = {first}",
        {"chunk_text": 1},
        0,
    ),
    "a chunk's offsets changed": (
        "update chunks set start_at = start_at + 1 where id = {first}",
        {"chunk_text": 1},
        0,
    ),
    "a chunk's hash changed": (
        "update chunks set hash = 'x' where id = {first}",
        {"chunk_hash": 1},
        1,
    ),
    "a document's text changed": (
        "update documents set text = 'x' || text where path = '1.md'",
        {"chunk_text": PART},
        0,
    ),
    "a document's title changed": (
        "update documents set title = 'x' where path = '1.md'",
        {"chunk_hash": PART},
        0,
    ),
    "a vector lost": (
        "delete from {vectors} where chunk_id = {first}",
        {"vector_missing": 1},
        1,
    ),
    "a vector lost that was kept": (
        """insert into retained_vectors (space_id, hash, embedding) select g.space_id, c.hash, v.embedding
        from generations g, chunks c join {vectors} v on v.chunk_id = c.id where c.id = {first};
        delete from {vectors} where chunk_id = {first}""",
        {"vector_missing": 1},
        0,
    ),
    "a vector of length zero": (
        "update {vectors} set embedding = array_fill(0, array[64])::halfvec where chunk_id = {first}",
        {"vector_zero": 1},
        1,
    ),
    "a vector without a chunk": (
        "insert into {vectors} select 99999, collection_id, embedding from {vectors} limit 1",
        {"vector_without_chunk": 1},
        0,
    ),
    "a vector in another collection": (
        "update {vectors} set collection_id = 77 where chunk_id = {first}",
        {"vector_collection": 1},
        0,
    ),
    "a vector of other dimensions": (
        """drop index {index}; alter table {vectors} alter column embedding type halfvec;
        update {vectors} set embedding = '[1,2,3]' where chunk_id = {first}""",
        {"vector_dimensions": 1, "index_missing": 1},
        1,
    ),
    "a kept vector of other dimensions": (
        "insert into retained_vectors (space_id, hash, embedding) select space_id, 'x', '[1,2,3]' from generations",
        {"kept_vector": 1},
        0,
    ),
    "a table that nobody knows": (
        "create table vectors_999 (chunk_id bigint references chunks)",
        {"table_leftover": 1},
        0,
    ),
    "the table of vectors lost": ("drop table {vectors}", {"table_missing": 1}, EVERY),
    "no active generation": ("update generations set state = 'retired'", {"generation_missing": 1}, 0),
    "the index lost": ("drop index {index}", {"index_missing": 1}, 0),
    "the index invalid": (
        "update pg_index set indisvalid = false where indexrelid = {index_name}::regclass",
        {"index_invalid": 1},
        0,
    ),
    "the index by another distance": (
        "drop index {index}; create index {index} on {vectors} using hnsw (embedding halfvec_l2_ops)",
        {"index_wrong": 1},
        0,
    ),
    "rows that the index does not have": (
        """update pg_index set indisready = false where indexrelid = {index_name}::regclass;
        create table moved as select * from {vectors}; delete from {vectors};
        insert into {vectors} select * from moved; drop table moved;
        update pg_index set indisready = true where indexrelid = {index_name}::regclass""",
        {"index_incomplete": 1},
        0,
    ),
    "the words' index lost": ("drop index chunks_lexemes", {"lexemes_index": 1}, 0),
    "the words' index invalid": (
        "update pg_index set indisvalid = false where indexrelid = 'chunks_lexemes'::regclass",
        {"lexemes_index": 1},
        0,
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_repaired(archive: Archive, damage: str) -> None:
    change, kinds, embedded = DAMAGES[damage]
    assert run_verify(archive.conninfo).as_json()["counts"] == {}
    before = archive.state()
    archive.execute(change)
    result = run_verify(archive.conninfo)
    assert dict(result.counts) == kinds
    assert all(finding.reason for finding in result.findings)

    archive.server.requests.clear()
    repaired = run_repair(archive.settings, archive.conninfo)
    assert (dict(repaired.counts), repaired.unresolved) == ({}, [])
    assert repaired.repaired == kinds
    assert archive.state() == before
    assert (len(archive.server.embedded()), repaired.embedded) == (embedded, embedded)


@pytest.mark.parametrize("damage", ["the index lost", "the index by another distance"])
def test_an_index_is_repaired_with_the_parameters_that_it_was_tuned_to(archive: Archive, damage: str) -> None:
    tuned = Parameters(m=48, ef_construction=400)
    with connect(archive.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        tuning.save(connection, generation, tuned, 160)
    change, kinds, _ = DAMAGES[damage]
    archive.execute(change)
    assert run_repair(archive.settings, archive.conninfo).repaired == kinds
    with connect(archive.conninfo) as connection:
        assert tuning.parameters(connection, generation) == tuned


def test_each_kind_has_a_sentence_and_a_remedy_and_is_tried() -> None:
    of_models = {"vector_outdated", "model_unusable"}  # tests/flows/integrity/test_model_sample.py
    tried = {kind for _, kinds, _ in DAMAGES.values() for kind in kinds}
    assert set(REASONS) == set(REMEDIES) == tried | of_models


def test_a_repair_of_what_is_well_changes_nothing(archive: Archive) -> None:
    before = archive.state()
    archive.server.requests.clear()
    result = run_repair(archive.settings, archive.conninfo)
    assert result.complete
    assert (result.repaired, archive.server.requests, archive.state()) == ({}, [], before)
    assert archive.rows("select count(*) from runs") == [(1,)]


def test_what_was_checked_is_counted(archive: Archive) -> None:
    assert run_verify(archive.conninfo).checked == {
        "sources": 1, "ledger": 6, "documents": 6, "chunks": EVERY, "vectors": EVERY,
        "looked_up": EVERY, "not_found": 0,
    }  # fmt: skip


def test_an_equal_text_elsewhere_gives_its_vector(archive: Archive) -> None:
    (archive.root / "copy.md").write_text((archive.root / "1.md").read_text())
    archive.sync()
    archive.execute(
        "delete from {vectors} v using chunks c, documents d"
        " where c.id = v.chunk_id and d.id = c.document_id and d.path = 'copy.md'"
    )
    archive.server.requests.clear()
    result = run_repair(archive.settings, archive.conninfo)
    assert result.repaired == {"vector_missing": PART}
    assert (result.embedded, result.reused, archive.server.embedded()) == (0, PART, [])


def test_an_equal_text_is_embedded_once(archive: Archive) -> None:
    (archive.root / "copy.md").write_text((archive.root / "1.md").read_text())
    archive.sync()
    before = archive.state()
    archive.execute("delete from {vectors}")
    archive.server.requests.clear()
    result = run_repair(archive.settings, archive.conninfo)
    assert (result.repaired, archive.state()) == ({"vector_missing": EVERY + PART}, before)
    assert (result.embedded, result.reused, len(archive.server.embedded())) == (EVERY, PART, EVERY)


def test_a_text_that_the_model_rejects_is_reported(archive: Archive) -> None:
    archive.execute("delete from {vectors} where chunk_id = {first}")
    archive.server.fault_scenario = FaultScenario(poison="sentence")
    result = run_repair(archive.settings, archive.conninfo)
    assert dict(result.counts) == {"vector_missing": 1}
    assert [sentence.split(":")[0] for sentence in result.unresolved] == ["chunk 1"]


def test_a_file_that_failed_is_no_finding(archive: Archive) -> None:
    """Its last good version is stored, its newest content hash is in the ledger."""
    archive.server.fault_scenario = FaultScenario(poison="glacier")
    (archive.root / "4.md").write_text("# Glacier\n\nThe glacier melts.\n")
    (archive.root / "new.md").write_text("# New\n\nA new glacier.\n")
    run_sync(archive.settings, archive.conninfo, [archive.source()], Options())
    assert archive.rows("select path from ledger where state = 'failed' order by 1") == [
        ("4.md",),
        ("new.md",),
    ]
    assert run_verify(archive.conninfo).counts == {}


def test_other_files_problems_are_not_the_repairs(archive: Archive) -> None:
    (archive.root / "data.pdf").write_bytes(b"%PDF-1.4 broken")
    archive.execute("delete from ledger where path = '1.md'")
    assert run_repair(archive.settings, archive.conninfo).complete


def test_a_document_that_cannot_be_made_anew_is_reported_with_why(archive: Archive) -> None:
    archive.execute("update chunks set hash = 'x' where id = {first}")
    path = archive.rows(
        "select d.path from documents d join chunks c on c.document_id = d.id and c.id = {first}"
    )
    archive.server.fault_scenario = FaultScenario(poison="sentence")
    result = run_repair(archive.settings, archive.conninfo)
    assert dict(result.counts) == {"chunk_count": 1}
    assert result.unresolved[0].startswith(path[0][0])


@pytest.mark.parametrize("damage", ["a chunk's hash changed", "a chunk's offsets changed", "a chunk lost"])
def test_without_its_file_a_document_keeps_what_it_has(archive: Archive, damage: str) -> None:
    archive.execute(DAMAGES[damage][0])
    chunks = archive.state()["chunks"]
    for file in archive.root.iterdir():
        file.unlink()
    archive.root.rmdir()
    result = run_repair(archive.settings, archive.conninfo)
    assert not result.complete
    assert (dict(result.counts), result.repaired) == (DAMAGES[damage][1], {})
    assert archive.state()["chunks"] == chunks
    assert archive.rows("select count(*) from documents") == [(len(SUBJECTS),)]


def test_a_ledger_row_comes_back_without_the_file(archive: Archive) -> None:
    archive.execute("delete from ledger where path = '1.md'")
    (archive.root / "1.md").unlink()
    assert run_repair(archive.settings, archive.conninfo).repaired == {"ledger_missing": 1}
    assert archive.rows("select chunk_count, processing_fingerprint from ledger where path = '1.md'") == [
        (PART, "")
    ]


def test_while_a_sync_runs_nothing_is_mended(archive: Archive) -> None:
    archive.execute("delete from ledger where path = '1.md'")
    source = archive.source()
    with connect(archive.conninfo) as other, sources.owned(other, source):
        with pytest.raises(SourceBusyError, match="another sync of 'archive' is running"):
            run_repair(archive.settings, archive.conninfo)
        result = run_verify(archive.conninfo)
    assert (dict(result.counts), result.syncing) == ({"ledger_missing": 1}, ["archive"])


def test_the_index_is_not_missed_before_the_first_sync_has_built_it(archive: Archive) -> None:
    archive.execute("drop index {index}")
    source = archive.source()
    with connect(archive.conninfo) as other, sources.owned(other, source):
        assert run_verify(archive.conninfo).counts == {}
    with connect(archive.conninfo) as other:
        (generation,) = generations.list_generations(other, "active")
        create = vector_statement("create_index", generation).as_string(other)
        other.execute(sql.SQL(create).format(m=sql.Literal(8), ef_construction=sql.Literal(32)))
        assert run_verify(archive.conninfo).counts == {"index_missing": 1}


def test_a_model_server_that_is_down_stops_only_what_needs_it(archive: Archive) -> None:
    archive.execute("delete from {vectors} where chunk_id = {first}; drop index {index}")
    archive.execute("delete from ledger where path = '1.md'")
    archive.server.fault_scenario = SERVER_ERROR
    result = run_repair(archive.settings, archive.conninfo)
    assert dict(result.counts) == {"vector_missing": 1}
    assert result.repaired == {"ledger_missing": 1, "index_missing": 1}
    assert "the server failed" in result.unresolved[0]
    assert result.as_json()["problems"][0]["kind"] == "repair"


def test_texts_are_read_in_batches_that_miss_none(archive: Archive) -> None:
    with connect(archive.conninfo) as connection:
        one_batch = [texts_of(connection, part) for part in document_ranges(connection)]
        for batch_characters in (1, 3000):
            ranges = document_ranges(connection, batch_characters)
            parts = [texts_of(connection, part) for part in ranges]
            assert len(parts) > len(one_batch) == 1
            assert [d for documents, _ in parts for d in documents] == one_batch[0][0]
            assert [c for _, chunks in parts for c in chunks] == one_batch[0][1]


def test_an_empty_database_is_well(conninfo: str) -> None:
    assert run_verify(conninfo).complete


def test_the_command(archive: Archive, tmp_path: Path) -> None:
    assert _command(archive, tmp_path).returncode == 0
    archive.execute(DAMAGES["a chunk's text changed"][0])
    completed = _command(archive, tmp_path)
    report = json.loads(completed.stdout.splitlines()[-1])
    assert (completed.returncode, report["status"], report["counts"]) == (3, "partial", {"chunk_text": 1})
    assert report["problems"] == [
        {
            "kind": "chunk_text",
            "source": "archive",
            "path": report["problems"][0]["path"],
            "reason": "chunk 1 is not the document's text at its offsets",
        }
    ]
    completed = _command(archive, tmp_path, as_json=False)
    assert completed.returncode == 3
    assert "its text is taken from the document" in completed.stdout
    completed = _command(archive, tmp_path, "--repair")
    report = json.loads(completed.stdout.splitlines()[-1])
    assert (completed.returncode, report["status"], report["repaired"]) == (0, "complete", {"chunk_text": 1})
    assert set(report) == {
        "status", "checked", "problems", "counts", "repaired", "embedded", "reused", "syncing", "seconds",
    }  # fmt: skip


def _command(
    archive: Archive, home: Path, *options: str, as_json: bool = True
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PGFOLIO_HOME": str(home / "state"),
        "PGFOLIO_DATABASE_URL": archive.conninfo,
    }
    return pgfolio("verify", *options, *(["--json"] if as_json else []), environment=environment)
