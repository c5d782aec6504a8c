"""The index is measured on the user's own vectors, tuned to a target, and rebuilt only where that pays."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import sql
from psycopg.types.json import Jsonb

from pgfolio.flows.cli.render import show_status
from pgfolio.flows.index import queries
from pgfolio.flows.index.tuning import better, cheapest, check, run_tuning
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.gauges import index_gauge
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.search.pool import in_snapshot, open_pool
from pgfolio.schema.search.vector import active_generation
from pgfolio.schema.vectors import generations, hnsw, segments, tuning
from pgfolio.schema.vectors.recall import EvaluationQueries
from pgfolio.schema.vectors.tuning import Measurement, Parameters
from tests.flows.index.test_segments import WORDS, active, grow, recall

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.library import Library

ONE, OTHER = Parameters(16, 64), Parameters(32, 200)


def measured(built: Parameters, ef_search: int, recall: float, p50_ms: float) -> Measurement:
    return Measurement(built, ef_search, recall, p50_ms, 1000, sampled=False)


def test_the_cheapest_is_the_fastest_that_meets_the_target() -> None:
    all_of_them = [
        measured(ONE, 40, 0.90, 0.5),
        measured(ONE, 200, 0.98, 2.0),
        measured(OTHER, 40, 0.97, 0.7),
        measured(OTHER, 80, 0.99, 1.1),
    ]
    assert cheapest(all_of_them, 0.98) == all_of_them[3]
    assert cheapest(all_of_them, 0.9) == all_of_them[0]
    assert cheapest(all_of_them, 0.999) is None


def test_of_equal_indexes_the_smallest_ef_search_counts_however_noisy_the_times_are() -> None:
    noisy = [measured(ONE, 40, 0.99, 1.5), measured(ONE, 64, 0.99, 0.9)]
    assert cheapest(noisy, 0.98) == noisy[0]


def test_another_index_is_built_where_it_pays() -> None:
    tried = [measured(ONE, 800, 0.98, 3.6), measured(OTHER, 200, 0.98, 2.6)]
    assert better(tried, ONE, 0.98, met=True) == ONE  # not worth a new index
    assert better(tried, ONE, 0.98, met=False) == OTHER  # over all vectors the one in use was not enough
    assert better(tried[:1], ONE, 0.98, met=False) == ONE
    assert better([tried[0], measured(OTHER, 100, 0.98, 1.6)], ONE, 0.98, met=True) == OTHER


@pytest.fixture
def grown(library: Library) -> Library:
    grow(library, "first", 60)
    library.sync()
    return library


def test_tuning_meets_the_target_and_is_kept(grown: Library) -> None:
    result = run_tuning(grown.settings, grown.conninfo, 0.95, tune=True)
    assert result.met
    assert not result.rebuilt
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        assert tuning.tuned(connection, generation) == (result.parameters, result.ef_search)
        last = tuning.last(connection, generation, result.ef_search or 0)
    assert last is not None
    assert last.recall == pytest.approx(result.recall)
    assert recall(grown) > 0.9
    ((flow, status),) = grown.rows("select flow, status from runs order by id desc limit 1")
    assert (flow, status) == ("index", "complete")


def test_measuring_alone_changes_nothing(grown: Library) -> None:
    result = run_tuning(grown.settings, grown.conninfo, 0.98, tune=False)
    assert result.measured
    assert grown.rows("select m, ef_construction, ef_search from generations") == [(None, None, None)]


@pytest.mark.long
def test_an_index_that_cannot_meet_the_target_is_built_anew_while_readers_go_on(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        hnsw.build(connection, active(connection), 2, 4)  # the poorest there is
    stop, errors, searches = threading.Event(), [], [0]

    def reads() -> None:
        with connect(grown.conninfo, autocommit=True) as connection:
            table = sql.Identifier(active(connection).table)
            nearest = sql.SQL("select chunk_id from {} order by embedding <=> %s limit 5").format(table)
            vector = HalfVector(np.ones(256, dtype=np.float32))
            while not stop.is_set():
                try:
                    nearest_rows = connection.execute(nearest, [vector]).fetchall()
                    assert len(nearest_rows) == 5
                    searches[0] += 1
                except Exception as error:  # noqa: BLE001 -- what a search would have met
                    errors.append(error)

    reader = threading.Thread(target=reads)
    reader.start()
    try:
        result = run_tuning(grown.settings, grown.conninfo, 0.97, tune=True)
    finally:
        stop.set()
        reader.join()
    assert (result.rebuilt, result.met) == (True, True)
    assert (errors, searches[0] > 10) == ([], True)
    grown.check()
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        assert segments.unindexed(connection, generation) == []
        built = [tuning.parameters(connection, m) for m in segments.members(connection, generation)]
    assert result.parameters in built


def test_the_next_segment_is_built_as_tuned(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        tuning.save(connection, active(connection), Parameters(24, 100), 50)
    grow(grown, "second", 60)
    grown.sync()
    with connect(grown.conninfo) as connection:
        newest = segments.members(connection, active(connection))[-1]
        assert (newest.segment, tuning.parameters(connection, newest)) == (1, Parameters(24, 100))


def test_searches_and_the_status_know_what_was_tuned(grown: Library) -> None:
    result = run_tuning(grown.settings, grown.conninfo, 0.9, tune=True)

    async def searched_with() -> int | None:
        async with open_pool(grown.conninfo, 1, 64) as pool:
            generation = await in_snapshot(pool, active_generation)
            return generation.ef_search if generation else None

    assert asyncio.run(searched_with()) == result.ef_search
    with connect(grown.conninfo) as connection:
        (row,) = overview(connection, None)["generations"]
    assert row["recall"]["ef_search"] == result.ef_search
    assert row["recall"]["grown"] == 1.0


@pytest.mark.long
def test_what_is_shown_of_an_index_that_was_not_tuned_is_of_the_settings(grown: Library) -> None:
    """Measured is also how far it gets when it looks farther than searches do."""
    run_tuning(grown.settings, grown.conninfo, 0.9, tune=False)
    searched = grown.settings.index.ef_search
    with connect(grown.conninfo) as connection:
        (row,) = overview(connection, None, ef_search=searched)["generations"]
        rows = connection.execute(
            "select ef_search, recall from index_measurements where not sampled"
        ).fetchall()
    assert len({row[0] for row in rows}) > 1
    assert row["recall"]["ef_search"] == searched
    assert row["recall"]["recall"] == pytest.approx(dict(rows)[searched], abs=0.0001)

    async def gauge() -> float | None:
        async with open_pool(grown.conninfo, 1, 64) as pool:
            result = await in_snapshot(pool, partial(index_gauge, permitted=None, ef_search=searched))
            return result.recall if result else None

    assert asyncio.run(gauge()) == dict(rows)[searched]


@pytest.mark.long
def test_an_index_is_measured_with_evaluation_queries(grown: Library) -> None:
    """Half of them what users asked lately, the others made of the documents."""
    with connect(grown.conninfo) as connection:
        for n in range(30):
            record = Jsonb({"query": f"where is the {WORDS[n % len(WORDS)]} of {n}"})
            connection.execute(
                "insert into traces (id, asked_at, kind, record) values (%s, now(), 'search', %s)",
                [n, record],
            )
        assert len(tuning.logged_queries(connection, 20)) == 20
    run = RunContext(grown.settings, grown.conninfo, Options())
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        query_vectors = queries.evaluation_queries(run, connection, generation, 80)
        assert [vector.shape for vector in query_vectors] == [(256,)] * 80
        assert run.report.tokens > 80
        evaluation = EvaluationQueries(connection, generation, 100, queries=query_vectors)
        assert len(evaluation.queries) == 100
        assert sum(chunk_id == 0 for chunk_id, _ in evaluation.queries) == 80
        assert evaluation.measure(400)[0] == pytest.approx(1.0, abs=0.02)
    assert run_tuning(grown.settings, grown.conninfo, 0.9, tune=True).met


@pytest.mark.long
def test_without_its_model_an_index_is_measured_with_stored_vectors(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        connection.execute("update spaces set provider = 'openai', model = 'text-embedding-3-small'")
    settings = grown.settings.model_copy(
        update={"embedding": grown.settings.embedding.model_copy(update={"deadline": 0.1})}
    )
    run = RunContext(settings, grown.conninfo, Options())
    with connect(grown.conninfo) as connection:
        assert queries.evaluation_queries(run, connection, active(connection), 10) == []
    (note,) = run.report.notes
    assert "stored vectors" in note
    assert run_tuning(settings, grown.conninfo, 0.9, tune=False).recall > 0.9


@pytest.mark.parametrize(
    ("n", "heading", "content", "expected"),
    [
        (0, "Guide > Flows > Retries", "one two three", "Retries"),
        (1, "Guide > Flows > Retries", "one two three", "one two three"),
        (0, "", "## one two - three", "one two three"),
        (1, "", " ".join(f"w{k}" for k in range(100)), "w46 w47 w48 w49 w50 w51 w52 w53"),
        (1, "", "\u8a9e" * 500, "\u8a9e" * 80),
        (0, "", "  ", ""),
    ],
)
def test_likely_queries_are_headings_and_parts_of_texts(
    n: int, heading: str, content: str, expected: str
) -> None:
    assert queries.likely_query(n, heading, content) == expected


def test_the_status_shows_recall_as_a_number(grown: Library, capsys: pytest.CaptureFixture[str]) -> None:
    run_tuning(grown.settings, grown.conninfo, 0.9, tune=True)
    with connect(grown.conninfo) as connection:
        status = overview(connection, None)
    show_status(status)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "active" in line]
    assert float(line.split()[-1]) == pytest.approx(status["generations"][0]["recall"]["recall"], abs=0.001)


def test_too_few_vectors_are_not_tuned(library: Library) -> None:
    library.sync()
    with pytest.raises(FailedError, match="as fast as an index"):
        run_tuning(library.settings, library.conninfo, 0.98, tune=True)


@pytest.mark.long
def test_after_growth_the_index_is_measured_again(grown: Library) -> None:
    def checked() -> int:
        run = RunContext(grown.settings, grown.conninfo, Options())
        with connect(grown.conninfo) as connection:
            check(run, connection, active(connection), min_vectors=500)
        ((count,),) = grown.rows("select count(*) from index_measurements")
        return int(count)

    assert [checked(), checked()] == [1, 1]
    grow(grown, "second", 3)
    grown.sync()
    assert checked() == 1
    grow(grown, "third", 40)
    grown.sync()
    assert checked() == 2


def checked_with(library: Library, **index_settings: object) -> RunContext:
    """The light check, as after a sync, with these settings of the index."""
    settings = library.settings.model_copy(
        update={"index": library.settings.index.model_copy(update=index_settings)}
    )
    run = RunContext(settings, library.conninfo, Options())
    with connect(library.conninfo) as connection:
        check(run, connection, active(connection), min_vectors=500)
    return run


def test_where_recall_has_fallen_searches_use_a_larger_ef_search_from_then_on(grown: Library) -> None:
    run = checked_with(grown, ef_search=10, target_recall=0.97)
    assert run.report.notes == []
    ((m, ef_search, recall),) = grown.rows(
        "select g.m, g.ef_search, (select recall from index_measurements order by id desc limit 1) from generations g"
    )
    assert m is None
    assert ef_search > 10
    assert recall >= 0.97


@pytest.mark.long
def test_where_a_larger_ef_search_does_not_help_the_report_says_what_does(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        hnsw.build(connection, active(connection), 2, 4)
    (note,) = checked_with(grown, ef_search=10, target_recall=0.99).report.notes
    assert "pgfolio index --tune" in note
    assert grown.rows("select ef_search from generations") == [(400,)]  # as far as is reasonable


@pytest.mark.long
def test_a_rebuild_that_cannot_be_had_leaves_what_is_known_of_the_index(grown: Library) -> None:
    """A reader that never ends keeps the old segments in use."""
    with connect(grown.conninfo) as connection:
        hnsw.build(connection, active(connection), 2, 4)
        built = tuning.parameters(connection, active(connection))
    with connect(grown.conninfo) as reader:
        table = sql.Identifier(active(reader).table)
        reader.execute(sql.SQL("select from {} limit 1").format(table))
        result = run_tuning(grown.settings, grown.conninfo, 0.97, tune=True)
        assert (result.rebuilt, result.parameters) == (False, built)
        with connect(grown.conninfo) as connection:
            assert tuning.tuned(connection, active(connection))[0] == built


@pytest.mark.long
def test_the_command_shows_what_it_measured(grown: Library, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PGFOLIO_HOME": str(tmp_path / "state"),
        "PGFOLIO_DATABASE_URL": grown.conninfo,
    }
    command = [sys.executable, "-m", "pgfolio.flows", "index", "--tune", "--target-recall", "0.9"]
    completed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "recall@10" in completed.stdout
    assert "target 0.9 met" in completed.stdout
    as_json = subprocess.run(
        [*command, "--json"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    result = json.loads(as_json.stdout.splitlines()[-1])
    assert (result["status"], result["chosen"]["recall"] >= 0.9) == ("complete", True)
    with connect(grown.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        assert tuning.tuned(connection, generation)[1] == result["chosen"]["ef_search"]
