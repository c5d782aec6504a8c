"""What goes wrong in other pipelines and must not in this one, as far as no other test shows it.

tests/faults/mutants.py names for each such failure the tests that show it, and breaks the code to prove that they do.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import sql

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources, statistics
from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.statements import statement
from pgfolio.schema.search.question import RANKING_NUMBERS
from pgfolio.schema.vectors import generations
from pgfolio.schema.vectors.storage import vector_statement
from tests.fakes.openai_server import SERVER_ERROR, FakeOpenAI, FaultScenario, vector
from tests.faults.world import wait_until
from tests.flows.library import ANIMALS, Library, counts, long_document, small_library
from tests.query_api.library import Page, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

REJECTED_WORD = "contraband"
WORDS = [f"{start}{middle}{end}" for start in "bdfgklmnpr" for middle in "aeiou" for end in "lnrst"]


@pytest.fixture
def library(tmp_path: Path, conninfo: str, settings: Settings) -> Library:
    """Two documents, with the bundled model."""
    return small_library(tmp_path, conninfo, settings)


@pytest.fixture
def hosted(new_settings: Callable[..., Settings], conninfo: str, openai_server: FakeOpenAI) -> Settings:
    """On the fake server, in a space of as many dimensions as the bundled model's."""
    return new_settings(
        database_url=conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={
            "provider": "openai",
            "model": "text-embedding-3-small",
            "dimensions": 256,
            "timeout": 5.0,
            "deadline": 0.3,
        },
    )


@pytest.fixture
def metered(library: Library, hosted: Settings) -> Library:
    """The library on the fake server."""
    library.settings = hosted
    return library


def test_documents_on_a_filesystem_that_is_nowhere_to_be_seen_are_kept(library: Library) -> None:
    """Three of them, fewer than any limit would hold, on a device that no file found is on."""
    for n in range(3):
        library.write(f"disk/{n}.md", f"# Page {n}\n\nThis page is about the number {n}.\n")
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("update ledger set device = 424242 where folder = 'disk/'")
    shutil.rmtree(library.root / "disk")
    assert counts(library.sync()) == {"held": 3, "unchanged": 2}
    assert len(library.stored()) == 5
    library.check()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """That every user can reach: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


AS_POSTGRES = """
import os, sys
from pathlib import Path
from pgfolio.config.loading import load_settings
from tests.flows.library import Library, counts
from psycopg.conninfo import conninfo_to_dict
if os.getuid() == 0:
    postgres = os.stat(conninfo_to_dict(sys.argv[2])["host"])
    os.setgroups([])
    os.setgid(postgres.st_gid)
    os.setuid(postgres.st_uid)
library = Library(Path(sys.argv[1]), sys.argv[2], load_settings(home=Path(sys.argv[1]), database_url=sys.argv[2]))
report = library.sync()
print(report.status, counts(report))
"""
"""A sync by a user whom permissions bind, root or not: the one whom the bundled Postgres runs under."""


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("pages", "partial {'unchanged': 2, 'held': 3}"),
        ("pages/1.md", "partial {'unchanged': 4, 'failed': 1}"),
    ],
    ids=["folder", "file"],
)
def test_what_may_not_be_read_just_now_keeps_its_last_version(
    open_folder: Path, conninfo: str, settings: Settings, closed: str, said: str
) -> None:
    library = Library(open_folder, conninfo, settings)
    for path in ("a.md", "b.md", "pages/1.md", "pages/2.md", "pages/3.md"):
        library.write(path, f"# Page {path}\n\nThis page is called {path}.\n")
    library.sync()
    stored = library.stored()
    mode = (open_folder / closed).stat().st_mode
    (open_folder / closed).chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_POSTGRES, str(open_folder), conninfo],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (open_folder / closed).chmod(mode)
    assert (done.stdout.strip(), library.stored()) == (said, stored), done.stderr
    assert library.sync().status == "complete"
    library.check()


def test_a_document_that_can_no_longer_be_parsed_keeps_its_last_version(library: Library) -> None:
    good = "<html><body><h1>Roofs</h1><p>A roof keeps the rain out.</p></body></html>"
    library.write("roofs.html", good)
    library.sync()
    stored = library.stored()
    library.write("roofs.html", b"")
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"failed": 1, "unchanged": 2})
    assert library.stored() == stored
    library.write("roofs.html", good)
    assert library.sync().status == "complete"
    assert library.stored() == stored


def test_after_a_switch_of_models_a_text_gets_the_new_models_vector(
    library: Library, hosted: Settings, openai_server: FakeOpenAI
) -> None:
    """Both spaces have 256 dimensions, so that nothing but the space tells their vectors apart. The old model's
    vectors of a deleted document are kept when the switch comes."""
    library.sync()
    (library.root / "animals.md").unlink()
    library.sync()
    library.settings = hosted
    run_reembed(hosted, library.conninfo, Options())
    library.write("animals.md", ANIMALS)
    assert library.sync().chunks.embedded > 0
    made = np.array([vector(text, 256) for text in openai_server.embedded()])
    stored = np.array([row[0] for row in library.rows("select embedding::real[] from {vectors}")])
    assert len(stored) == len(library.rows("select id from chunks"))
    assert (stored @ made.T).max(axis=1) == pytest.approx(1.0, abs=1e-3)


def test_of_thirty_documents_one_is_stored_and_the_run_does_not_say_complete(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    """The server refuses each of the others: what is stored is 3%, and the report says so, and so does the ledger."""
    for n in range(29):
        metered.write(f"pages/{n:02}.md", f"# Page {n}\n\nThis page of {REJECTED_WORD} has the number {n}.\n")
    (metered.root / "garden/plants.md").unlink()
    openai_server.fault_scenario = FaultScenario(poison=REJECTED_WORD)
    report = metered.sync()
    assert (report.status, counts(report)) == ("partial", {"added": 1, "failed": 29})
    assert sorted({problem.stage for problem in report.problems}) == ["embed"]
    assert len(report.problems) == 29
    assert metered.rows("select state, count(*) from ledger group by state order by state") == [
        ("failed", 29),
        ("ok", 1),
    ]
    assert list(metered.stored()) == ["animals.md"]
    metered.check()


def test_of_505_documents_two_texts_that_are_refused_cost_their_own_documents_only(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    for n in range(503):
        word = REJECTED_WORD if n in (100, 400) else "goods"
        metered.write(f"pages/{n:03}.md", f"# Page {n}\n\nThis page of {word} has the number {n}.\n")
    openai_server.fault_scenario = FaultScenario(poison=REJECTED_WORD)
    report = metered.sync()
    assert counts(report) == {"added": 503, "failed": 2}
    assert sorted(problem.path for problem in report.problems) == ["pages/100.md", "pages/400.md"]
    metered.check()


def test_no_text_is_given_the_vector_of_another_one_when_one_is_missing(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    """The server leaves out the last vector of two answers: all are there in the end, each under its own text."""
    metered.write("long.md", long_document(20))
    openai_server.fault_scenario = FaultScenario(missing=1, times=2)
    assert metered.sync().status == "complete"
    metered.check()
    rows = metered.rows(
        "select c.hash, v.embedding::real[] from chunks c join {vectors} v on v.chunk_id = c.id"
    )
    made = {hashlib.sha256(text.encode()).digest(): vector(text, 256) for text in openai_server.embedded()}
    assert [float(made[key] @ np.array(stored)) for key, stored in rows] == pytest.approx(
        [1.0] * len(rows), abs=1e-3
    )


def sync_of_a_change(library: Library) -> object:
    library.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    return library.sync()


def first_sync_with_an_unknown_model(library: Library) -> object:
    """Whose dimensions are asked for."""
    other = library.settings.embedding.model_copy(update={"model": "tiny-embedding", "dimensions": None})
    library.settings = library.settings.model_copy(update={"embedding": other})
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        generations.drop_generation(connection, generation)
    library.write("new.md", "# New\n\nA page.\n")
    return library.sync()


def move_to_another_space(library: Library) -> object:
    other = library.settings.embedding.model_copy(update={"dimensions": 128})
    return run_reembed(library.settings.model_copy(update={"embedding": other}), library.conninfo, Options())


def repair_of_a_lost_vector(library: Library) -> object:
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        lost = sql.SQL("delete from {} where chunk_id = (select min(id) from chunks)")
        connection.execute(lost.format(sql.Identifier(generation.table)))
    return run_repair(library.settings, library.conninfo)


def question(library: Library) -> object:
    with running_api(library.settings, library.conninfo) as client:
        return client.post("/search", json={"query": "striped animals"}).raise_for_status()


@pytest.mark.parametrize(
    "work",
    [
        sync_of_a_change,
        first_sync_with_an_unknown_model,
        move_to_another_space,
        repair_of_a_lost_vector,
        question,
    ],
)
def test_no_transaction_is_open_while_the_model_server_is_waited_for(
    metered: Library, openai_server: FakeOpenAI, work: Callable[[Library], object]
) -> None:
    metered.sync()
    openai_server.requests.clear()
    openai_server.fault_scenario = FaultScenario(delay=1.5, times=1)
    answered = len(openai_server.answered)
    with ThreadPoolExecutor(1) as pool, connect(metered.conninfo, autocommit=True) as connection:
        done = pool.submit(work, metered)
        wait_until(lambda: openai_server.requests or done.done())
        time.sleep(0.3)  # what is ready besides is stored by then
        sessions = connection.execute(
            "select application_name, state, xact_start is null, query from pg_stat_activity "
            "where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchall()
        locks = connection.execute(
            "select l.locktype, l.mode, l.relation::regclass::text "
            "from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() "
            "and l.pid <> pg_backend_pid() and l.locktype <> 'advisory'"
        ).fetchall()
        assert len(openai_server.answered) == answered, "the server answered before it was looked"
        done.result()
    assert sessions
    assert [session for session in sessions if session[1] != "idle" or not session[2]] == []
    assert locks == []


@pytest.mark.parametrize(
    "name", ["../../outside.md", "/outside.md", "..\\..\\outside.md", "C:\\outside.md", "a\x00/../outside.md",
             "..", ".", "~/outside.md", "%2e%2e/outside.md", "outside.md/" + "x" * 3000 + ".md", "\u202emd.edistuo"],
)  # fmt: skip
def test_a_name_that_a_client_gives_is_a_label_and_never_a_path(
    settings: Settings, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is pushed stands in the database under a number; its text is its own, whatever file has the name; no file
    comes to be, and none is read."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    (tmp_path / "outside.md").write_text("A secret of this machine.")
    before = files_of(tmp_path)
    with running_api(settings, conninfo) as client:
        answers = [client.post("/documents", files={"file": (name, b"Of the client.")})]
        if "\x00" not in name and len(name) <= 500:
            answers.append(client.post("/documents", json={"title": name, "content": "Of the client."}))
        sync_pushed(settings, conninfo)
        for answer in answers:
            assert answer.status_code == 202
            stored = client.get(answer.json()["url"]).json()
            assert re.fullmatch(rf"{answer.json()['id']}(\.[a-z]+)?", stored["path"])
            assert (stored["state"], stored["text"]) == ("ok", "Of the client.")
            assert not set(stored["title"]) & set("\x00\u202e\n")
    assert files_of(tmp_path) == before


def files_of(root: Path) -> dict[str, str]:
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


def sync_pushed(settings: Settings, conninfo: str) -> None:
    with connect(conninfo) as connection:
        chosen = [source for source in sources.list_sources(connection) if source.kind == "pushed"]
    run_sync(settings, conninfo, chosen, Options())


def sentences(count: int, seed: int) -> dict[str, str]:
    """Sections of words without sense, by heading."""
    chosen = random.Random(seed)
    return {f"Part {seed}.{n}": " ".join(chosen.choices(WORDS, k=12)) + "." for n in range(count)}


@pytest.fixture
def crowd(new_settings: Callable[..., Settings], conninfo: str) -> Settings:
    """2,000 chunks in the collection `many` and 50 in `rare`, under an index that is as bad as one can be built."""
    settings = new_settings(database_url=conninfo, index={"m": 2, "ef_construction": 4})
    pages = (
        *(Page(f"{n}.md", None, sentences(500, n), "many") for n in range(4)),
        Page("rare.md", None, sentences(50, 4), "rare"),
    )
    stock(conninfo, settings, pages)
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        statistics.analyze(connection, generation)
    return settings


def found(client: httpx.Client, query: str, **fields: Any) -> list[int]:
    response = client.post("/search", json={"query": query, "mode": "vector", **fields})
    return [result["chunk_id"] for result in response.raise_for_status().json()["results"]]


@pytest.mark.parametrize("collections", [None, ["many"]])
def test_a_higher_ef_search_finds_more_of_the_nearest(
    crowd: Settings, conninfo: str, collections: list[str] | None
) -> None:
    queries = list(sentences(20, 99).values())
    within: dict[str, Any] = {} if collections is None else {"collections": collections}
    with running_api(crowd, conninfo) as client:
        right = {}
        for ef_search in (1, 1000):
            right[ef_search] = sum(
                len(
                    set(found(client, query, limit=10, ef_search=ef_search, **within))
                    & set(found(client, query, limit=10, exact=True, **within))
                )
                for query in queries
            )
    assert right[1000] > right[1] + 20, right


def test_fifty_of_a_small_collection_are_found_where_the_index_gives_up_early(
    crowd: Settings, conninfo: str
) -> None:
    """The question is one of the other collection's chunks. The server prefers the index to a scan of the table, as
    it does with many more rows, and lets a filtered scan of the index look at 100 of them."""
    with connect(conninfo) as connection:
        database = sql.Identifier(connection.info.dbname)
        for setting in ("hnsw.max_scan_tuples = 100", "enable_seqscan = off"):
            connection.execute(sql.SQL("alter database {} set " + setting).format(database))
    near_the_others = sentences(1, 0)["Part 0.0"]
    with running_api(crowd, conninfo) as client:
        for mode in ("vector", "hybrid"):
            body = {
                "query": near_the_others,
                "mode": mode,
                "collections": ["rare"],
                "limit": 50,
                "max_per_document": 50,
            }
            answer = client.post("/search", json=body).raise_for_status().json()
            assert {result["path"] for result in answer["results"]} == {"rare.md"}
            assert (answer["total_returned"], answer["complete"]) == (50, True)


@pytest.mark.parametrize("name", ["search_vectors", "rank_vectors", "rank_vectors_filtered"])
def test_the_search_by_vectors_goes_through_the_half_precision_index(
    crowd: Settings, conninfo: str, name: str
) -> None:
    values = {"vector": str([1.0] * 256), "permitted": [1, 2] if name == "rank_vectors_filtered" else None}
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        plan = explained(connection, name, generation, values)
        assert f"Index Scan using {generation.index}" in plan, plan
        assert connection.execute(
            "select o.opcname, t.typname from pg_index i join pg_opclass o on o.oid = i.indclass[0] "
            "join pg_type t on t.oid = o.opcintype where i.indexrelid = %s::regclass",
            [generation.index],
        ).fetchone() == ("halfvec_cosine_ops", "halfvec")


@pytest.mark.parametrize(("name", "least"), [("rank_words", 3), ("idf_of_words", 1)])
def test_the_search_by_words_goes_through_the_index_of_lexemes(
    crowd: Settings, conninfo: str, name: str, least: int
) -> None:
    """`rank_words` finds the chunks with a rare word, those with a common one, and those with a phrase."""
    values: dict[str, Any] = {
        "query": "Where is bal?",
        "phrases": [],
        "permitted": None,
        "visible": None,
        "all_words": False,
    }
    values |= {"vector": HalfVector([1.0] * 256), "vector_arm": []}
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        plan = explained(connection, name, generation, values)
    assert plan.count("Bitmap Index Scan on chunks_lexemes") >= least, plan


def explained(
    connection: Connection, name: str, generation: Generation | None, values: dict[str, Any]
) -> str:
    """The plan of a statement of the read side, where it is up to PostgreSQL whether the table is scanned."""
    query = statement(name) if generation is None else vector_statement(name, generation)
    text: LiteralString = query.as_string(connection)
    if generation is not None or "{limit}" in text:
        vector_arm = sql.SQL("select unnest(%(vector_arm)s::bigint[]) as chunk_id")
        ten, every = sql.Literal(10), sql.SQL("all")
        parts = {
            "limit": ten,
            "scan": ten,
            "matches": sql.SQL("true"),
            "vector_arm": vector_arm,
            "corpus": sql.SQL(statement("corpus_of_all").as_string()).format(**RANKING_NUMBERS),
            "max_common": every,
            **RANKING_NUMBERS,
        }
        text = sql.SQL(text).format(**parts).as_string(connection)
    used = {key: value for key, value in values.items() if f"%({key})s" in text}
    connection.execute("set enable_seqscan = off")
    rows = connection.execute("explain " + text, used).fetchall()
    return "\n".join(row[0] for row in rows)


FAILING: dict[str, LiteralString] = {
    "chunks": "before insert on chunks",
    "vectors": "before insert on {vectors}",
    "old chunks": "before delete on chunks",
    "ledger": "before insert or update on ledger",
}
"""Where a change is written: by the trigger of the step that does not succeed."""


@pytest.mark.parametrize("step", FAILING)
def test_a_change_that_cannot_be_stored_leaves_the_last_version_whole(library: Library, step: str) -> None:
    library.write("long.md", long_document(20))
    library.sync()
    before = library.stored(), ledger(library)
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        connection.execute(
            "create function full_disk() returns trigger language plpgsql as "
            "$$ begin raise exception 'no space left on the device'; end $$"
        )
        trigger = sql.SQL("create trigger full_disk " + FAILING[step] + " execute function full_disk()")
        connection.execute(trigger.format(vectors=sql.Identifier(generation.table)))
    library.write("long.md", long_document(20).replace("The", "Some", 400))
    with pytest.raises(FailedError, match="no space left"):
        library.sync()
    assert (library.stored(), ledger(library)) == before
    library.check()
    with connect(library.conninfo) as connection:
        connection.execute("drop function full_disk cascade")
    assert counts(library.sync()) == {"changed": 1, "unchanged": 2}
    assert library.stored() != before[0]
    library.check()


def test_a_change_that_cannot_be_embedded_leaves_the_last_version_and_is_taken_later(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    metered.sync()
    before = metered.stored(), ledger(metered)
    openai_server.fault_scenario = SERVER_ERROR
    metered.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    with pytest.raises(FailedError, match="the server failed"):
        metered.sync()
    assert (metered.stored(), ledger(metered)) == before
    openai_server.fault_scenario = None
    assert counts(metered.sync()) == {"changed": 1, "unchanged": 1}
    assert any("tiger" in content for content, _ in metered.stored()["animals.md"])
    metered.check()


def test_a_space_that_lacks_one_vector_does_not_take_the_old_ones_place(
    library: Library, hosted: Settings, openai_server: FakeOpenAI
) -> None:
    library.write("third.md", f"# Third\n\nThis page tells of {REJECTED_WORD}.\n")
    library.sync()
    before = library.stored()
    openai_server.fault_scenario = FaultScenario(poison=REJECTED_WORD)
    with pytest.raises(FailedError, match="1 chunks have no vector in openai"):
        run_reembed(hosted, library.conninfo, Options())
    with connect(library.conninfo) as connection:
        assert [g.space.provider for g in generations.list_generations(connection, "active")] == ["local"]
    assert library.stored() == before
    library.check()


def test_nul_characters_in_any_kind_of_file_do_no_harm(library: Library) -> None:
    library.write("nul.md", b"# A title\0\n\nSome text\0 with NUL.\n\n## A heading\0\n\nMore.\n")
    library.write("head.md", b'---\ntitle: "A\\0 title"\ntags: ["x\\0y"]\n"k\\0ey": 1\n---\nSome text.\n')
    library.write(
        "page.html", b"<html><head><title>A\0 title</title></head><body><p>Some\0 text.</p></body></html>"
    )
    library.write("table.csv", b"Name,Age\nA\0da,36\n")
    report = library.sync()
    assert (report.status, counts(report)) == ("complete", {"added": 6})
    text = library.rows("select string_agg(to_jsonb(d)::text || to_jsonb(c)::text, '') "
                        "from documents d join chunks c on c.document_id = d.id")  # fmt: skip
    assert "\\u0000" not in text[0][0]
    library.check()


def test_identical_files_of_one_first_sync_are_documents_of_their_own(library: Library) -> None:
    library.write("copies/one.md", ANIMALS)
    library.write("copies/two.md", ANIMALS)
    assert counts(library.sync()) == {"added": 4}
    stored = library.stored()
    assert set(stored) == {"animals.md", "copies/one.md", "copies/two.md", "garden/plants.md"}
    assert stored["copies/one.md"] == stored["copies/two.md"] == stored["animals.md"] != []
    (library.root / "copies/one.md").unlink()
    assert counts(library.sync()) == {"removed": 1, "unchanged": 3}
    assert library.stored()["copies/two.md"] == stored["animals.md"]
    library.check()


def test_a_copy_that_moves_takes_the_place_of_itself_only(library: Library, tmp_path: Path) -> None:
    """The same text in two sources: what happens in one leaves the other's document alone."""
    library.sync()
    other = tmp_path / "other"
    other.mkdir()
    (other / "animals.md").write_text(ANIMALS)
    with connect(library.conninfo) as connection:
        source = sources.ensure_source(connection, str(other), name="other")
    run_sync(library.settings, library.conninfo, [source], Options())
    (library.root / "animals.md").rename(library.root / "beasts.md")
    assert counts(library.sync()) == {"moved": 1, "unchanged": 1}
    assert library.rows("select s.name, d.path from documents d join sources s on s.id = d.source_id "
                        "where d.path ~ 'animals|beasts' order by 1") == [
        ("library", "beasts.md"),
        ("other", "animals.md"),
    ]  # fmt: skip


def ledger(library: Library) -> list[tuple[Any, ...]]:
    return library.rows(
        "select path, encode(content_hash, 'hex'), size, mtime_ns, chunk_count, state from ledger order by path"
    )
