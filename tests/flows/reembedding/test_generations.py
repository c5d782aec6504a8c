"""A move to another embedding space: what is kept, resumed, measured, refused and rolled back, while searches and
syncs go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from psycopg import sql

from pgfolio.flows.index import queries
from pgfolio.flows.ingest.forecast import seconds
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.reembedding.gate import GateMeasurement, objections
from pgfolio.flows.run.exclusive import without_syncs
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.flows.run.progress import NullProgress
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.records import Generation, Space
from pgfolio.schema.vectors import generations, hnsw, recall, reuse
from tests.bench.reembedding import Clients, TimedAnswer, Truth
from tests.fakes.openai_server import KEY, SERVER_ERROR, FaultScenario
from tests.flows.reembedding.moving import IN_FLIGHT, LOCAL, PAGES, SMALL, TINY, Corpus, in_thread
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from tests.flows.library import Library


def test_the_old_space_stays_and_both_hold_every_chunk(corpus: Corpus) -> None:
    report = corpus.move()
    assert (report.status, report.chunks.embedded) == ("complete", report.chunks.total)
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert corpus.missing() == {LOCAL: 0, TINY: 0}
    assert run_verify(corpus.conninfo).complete


def test_what_a_sync_stores_meanwhile_is_in_both_spaces(corpus: Corpus) -> None:
    corpus.server.fault_scenario = FaultScenario(delay=0.2, only="embeddings")
    with in_thread(corpus.move):
        while not corpus.server.answered:
            time.sleep(0.02)
        corpus.write(PAGES, PAGES + 30)
        (corpus.library.root / "001.md").unlink()
        corpus.write(2, 3)
        meanwhile = corpus.library.sync()
        assert meanwhile.documents.added == 30
        assert corpus.states() == {LOCAL: "active", TINY: "building"}
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert corpus.missing() == {LOCAL: 0, TINY: 0}
    corpus.library.check()


def test_syncs_after_the_switch_write_into_the_new_space(corpus: Corpus) -> None:
    corpus.move()
    corpus.library.settings = corpus.hosted
    corpus.write(PAGES, PAGES + 5)
    corpus.library.sync()
    assert corpus.missing() == {LOCAL: 5, TINY: 0}
    assert run_verify(corpus.conninfo).complete


def command(corpus: Corpus, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PGFOLIO_HOME": str(corpus.library.root.parent / "home"),
        "PGFOLIO_DATABASE_URL": corpus.conninfo,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": corpus.server.url,
        "PGFOLIO_EMBEDDING__BATCH_INPUTS": "8",
        "PGFOLIO_EMBEDDING__IN_FLIGHT": str(IN_FLIGHT),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", "reembed", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_killed_move_is_resumed_and_pays_at_most_the_requests_in_flight_again(corpus: Corpus) -> None:
    """A sync between the kill and the next try is caught up with."""
    corpus.server.fault_scenario = FaultScenario(delay=0.15, only="embeddings")
    process = command(corpus, "--model", SMALL, "--json")
    while len(corpus.server.answered) < PAGES // 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert corpus.states() == {LOCAL: "active", SMALL: "building"}
    corpus.write(PAGES, PAGES + 10)
    corpus.library.sync()
    corpus.server.fault_scenario = None
    again = command(corpus, "--model", SMALL, "--json")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err + out
    assert corpus.states() == {LOCAL: "retired", SMALL: "active"}
    assert corpus.missing() == {LOCAL: 0, SMALL: 0}
    assert corpus.server.paid_twice() <= IN_FLIGHT
    assert len(set(corpus.server.answered)) == len(corpus.library.rows("select from chunks"))


def test_a_text_that_stands_in_many_places_is_paid_for_once(corpus: Corpus) -> None:
    for n in range(20):
        corpus.library.write(f"copies/{n}.md", "# Copy\n\nThe same text everywhere.\n")
    corpus.library.sync()
    report = corpus.move()
    embedded = [text for text in corpus.server.embedded() if text != "dimensions"]
    assert len(embedded) == len(set(embedded))
    assert report.chunks.embedded + report.chunks.reused == report.chunks.total
    assert report.chunks.reused == 19


def test_a_vector_whose_chunk_is_being_deleted_waits_for_nobody_and_is_kept(corpus: Corpus) -> None:
    """It would deadlock with a sync that deletes chunks in another order; and what is paid for is not lost."""
    made = np.ones(64, dtype=np.float32) / 8
    with connect(corpus.conninfo) as sync, connect(corpus.conninfo) as connection:
        generation = generations.create_generation(connection, Space("openai", TINY, 64), "building")
        rows = connection.execute("select id, hash from chunks order by id limit 2").fetchall()
        connection.commit()
        sync.execute("delete from chunks where id = %s", [rows[0][0]])
        connection.execute("set lock_timeout = '1s'")
        given = {rows[0][1]: made, rows[1][1]: made, b"a text that nobody has": made}
        assert reuse.place(connection, generation, given) == 1
        connection.commit()
        sync.commit()
        hashes = {row[0] for row in connection.execute("select hash from retained_vectors")}
        assert hashes == given.keys() - {rows[1][1]}
        listed = connection.execute(
            sql.SQL("select chunk_id from {}").format(sql.Identifier(generation.table))
        ).fetchall()
        assert listed == [(rows[1][0],)]
        connection.execute("update generations set state = 'ready' where id = %s", [generation.id])


def test_vectors_kept_in_the_space_are_not_paid_for_again(corpus: Corpus) -> None:
    corpus.move()
    corpus.library.settings = corpus.hosted
    (corpus.library.root / "007.md").unlink()
    corpus.library.sync()
    corpus.move(corpus.library.settings.model_copy(update={"embedding": corpus.model(SMALL).embedding}))
    corpus.write(7, 8)
    corpus.library.sync()
    corpus.server.requests.clear()
    assert corpus.move().chunks.embedded == 0
    assert [text for text in corpus.server.embedded() if "number 7." in text] == []
    assert corpus.missing()[TINY] == 0


def test_a_plan_counts_each_text_once_and_nothing_that_is_kept(corpus: Corpus) -> None:
    corpus.library.write("copy.md", "# Page 1\n\nThis page tells of the river and of number 1.\n")
    corpus.library.sync()
    planned = corpus.move(options=Options(plan_only=True))
    assert planned.status == "planned"
    assert corpus.states() == {LOCAL: "active"}
    assert corpus.server.embedded() in ([], ["dimensions"])
    (tokens,) = corpus.library.rows("select sum(tokens) from (select distinct hash, tokens from chunks) t")[0]
    assert planned.tokens == tokens
    assert planned.estimate is not None
    with connect(corpus.conninfo) as connection:
        took = seconds(connection, corpus.hosted, Space("openai", TINY, 64), tokens)
    assert planned.estimate.seconds == pytest.approx(took)
    corpus.move()
    back = corpus.move(corpus.library.settings, options=Options(plan_only=True))
    assert (back.tokens, back.cost_usd) == (0, 0.0)


def test_a_rollback_is_at_once_and_then_completes_the_old_space(corpus: Corpus) -> None:
    corpus.move()
    corpus.library.settings = corpus.hosted
    corpus.write(PAGES, PAGES + 5)
    corpus.library.sync()
    report = corpus.move(rollback=True)
    assert (report.status, report.chunks.embedded) == ("complete", 5)
    assert corpus.states() == {LOCAL: "active", TINY: "retired"}
    assert corpus.missing() == {LOCAL: 0, TINY: 0}
    corpus.move(rollback=True)
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}


def test_a_rollback_does_not_wait_for_a_model_server_that_is_down(corpus: Corpus) -> None:
    corpus.move()
    corpus.move(corpus.library.settings)
    corpus.write(PAGES, PAGES + 5)
    corpus.library.sync()
    corpus.server.fault_scenario = SERVER_ERROR
    report = corpus.move(rollback=True)
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert report.status == "partial"
    assert any("the server failed" in problem.reason for problem in report.problems)
    assert any("5 chunks have no vector" in problem.reason for problem in report.problems)
    corpus.server.fault_scenario = None
    assert corpus.move().status == "complete"
    assert corpus.missing() == {LOCAL: 0, TINY: 0}


def test_a_sync_that_ran_across_a_rollback_is_caught_up_with(corpus: Corpus) -> None:
    """It goes on in the space that it began in."""
    corpus.move()
    corpus.library.settings = corpus.hosted
    corpus.server.fault_scenario = FaultScenario(delay=0.4, only="embeddings")
    requests_before = len(corpus.server.requests)
    corpus.write(PAGES, PAGES + 40)
    with in_thread(corpus.library.sync):
        while len(corpus.server.requests) == requests_before:
            time.sleep(0.01)
        corpus.move(rollback=True)
    assert corpus.states() == {LOCAL: "active", TINY: "retired"}
    assert corpus.missing() == {LOCAL: 0, TINY: 0}


def test_a_rollback_with_nothing_to_go_back_to_says_so(corpus: Corpus) -> None:
    with pytest.raises(FailedError, match="no earlier generation to go back to"):
        corpus.move(rollback=True)


def test_an_index_that_misses_too_much_is_rejected_and_can_be_forced(corpus: Corpus) -> None:
    """A graph of two neighbours is as bad as pgvector's settings allow."""
    corpus.write(PAGES, 400)
    corpus.library.sync()
    poor = corpus.indexed(m=2, ef_construction=4, ef_search=1, gate_recall=1.0)
    with pytest.raises(FailedError, match=r"recall@10 is 0\.\d+ at ef_search 1, wanted 1\.000 .*kept ready"):
        corpus.move(poor)
    assert corpus.states() == {LOCAL: "active", TINY: "ready"}
    paid = len(corpus.server.answered)
    report = corpus.move(poor, force=True)
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert (report.status, report.chunks.embedded) == ("complete", 0)
    assert len([text for text in corpus.server.answered if text != "dimensions"]) <= paid


def test_a_space_that_lacks_a_vector_is_switched_to_by_force_alone(corpus: Corpus) -> None:
    corpus.server.fault_scenario = FaultScenario(poison="number 17.")
    with pytest.raises(FailedError, match=r"1 chunks have no vector in openai.*refused.*--force"):
        corpus.move()
    assert corpus.states() == {LOCAL: "active", TINY: "ready"}
    assert corpus.move(force=True).status == "partial"
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert corpus.missing()[TINY] == 1


def has_eval() -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.query_api", "eval", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize("many", [True, False])
def test_of_many_vectors_the_gate_measures_with_evaluation_queries(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, *, many: bool
) -> None:
    """Of few it does not: each text is paid for once, and nothing else is."""
    monkeypatch.setattr(queries, "MIN_VECTORS_FOR_QUERIES", PAGES if many else PAGES * 10)
    corpus.server.requests.clear()
    corpus.move()
    texts = [text for request in corpus.server.requests for text in request.body["input"]]
    texts = [text for text in texts if text != "dimensions"]
    queries_embedded = [text for text in texts if "#" not in text]
    ((chunks,),) = corpus.library.rows("select count(*) from chunks")
    assert len(texts) - len(queries_embedded) == chunks
    assert bool(queries_embedded) == many
    assert corpus.states()[TINY] == "active"


@pytest.mark.long
@pytest.mark.parametrize("allowed", [1.0, 0.02])
def test_labelled_queries_are_evaluated_in_both_spaces(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: float
) -> None:
    """The new model knows words by their first four letters alone: to it, a chick is no bird."""
    if not has_eval():
        pytest.skip("`python -m pgfolio.query_api eval` does not exist yet")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", corpus.server.url)
    corpus.library.write("birds.md", "# Birds\n\nSparrows feed their young on insects.\n")
    corpus.library.sync()
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"query": "avian nutrition for chicks", "relevant": {"birds.md": 1}}\n')
    settings = corpus.indexed(gate_ndcg_loss=allowed)
    if allowed == 1.0:
        corpus.move(settings, labelled=labelled)
    else:
        with pytest.raises(FailedError, match=r"nDCG@10 is 0\.\d+, with the old space 1\.000"):
            corpus.move(settings, labelled=labelled)
    assert corpus.states()[TINY] == ("active" if allowed == 1.0 else "ready")
    with connect(corpus.conninfo) as connection:
        measured = {
            row["state"]: row.get("measured", {}) for row in overview(connection, None)["generations"]
        }
    assert {"ndcg", "ndcg_before", "recall"} <= measured[corpus.states()[TINY]].keys()


@pytest.mark.parametrize(("measured", "said"), [
    (GateMeasurement(), []),
    (GateMeasurement(0.95, 64), []),
    (GateMeasurement(0.94, 64, 128), [("recall@10 is 0.940 at ef_search 64, wanted 0.950 "
                               "(PGFOLIO_INDEX__GATE_RECALL; "
                               "PGFOLIO_INDEX__EF_SEARCH=128 reaches it)")]),
    (GateMeasurement(1.0, 64, None, 0.50, 0.49), []),
    (GateMeasurement(1.0, 64, None, 0.50, 0.47), [("nDCG@10 is 0.470, with the old space 0.500, "
                                           "wanted at least 0.480 "
                                           "(PGFOLIO_INDEX__GATE_NDCG_LOSS)")]),
])  # fmt: skip
def test_the_gate_says_what_was_measured_and_what_is_required(
    settings: Settings, measured: GateMeasurement, said: list[str]
) -> None:
    assert objections(measured, settings.index) == said


def test_a_file_of_queries_that_cannot_be_evaluated_leaves_the_old_space(
    corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "labelled.jsonl").write_text("not JSON\n")
    with pytest.raises(FailedError, match="could not be evaluated"):
        corpus.move(labelled=tmp_path / "labelled.jsonl")
    assert corpus.states()[LOCAL] == "active"


def test_retired_vectors_are_dropped_when_their_time_is_over(corpus: Corpus) -> None:
    corpus.move()
    with connect(corpus.conninfo) as connection:
        assert generations.drop_expired(connection, 7) == []
        shown = overview(connection, None, keep_generations_days=7)["generations"]
        assert {row["state"]: "kept_until" in row for row in shown} == {"active": False, "retired": True}
        connection.execute(
            "update generations set retired_at = now() - interval '8 days' where state = 'retired'"
        )
        connection.commit()
        generations.drop_expired(connection, 7)
    assert corpus.states() == {TINY: "active"}
    with pytest.raises(FailedError, match="no earlier generation"):
        corpus.move(rollback=True)


def test_a_move_begun_to_another_space_is_not_lost(corpus: Corpus) -> None:
    corpus.server.fault_scenario = FaultScenario(status=500, after=4)
    with pytest.raises(FailedError):
        corpus.move()
    corpus.server.fault_scenario = None
    paid = set(corpus.server.answered)
    assert paid
    corpus.move(corpus.model(SMALL))
    assert corpus.states() == {LOCAL: "retired", TINY: "retired", SMALL: "active"}
    corpus.server.requests.clear()
    corpus.move()
    assert corpus.states() == {LOCAL: "retired", TINY: "active", SMALL: "retired"}
    assert paid.isdisjoint(set(corpus.server.embedded()) - {"dimensions"})


def test_an_abandoned_move_is_not_what_a_rollback_goes_back_to(corpus: Corpus) -> None:
    corpus.move(corpus.model(SMALL))
    corpus.server.fault_scenario = FaultScenario(poison="number 17.")
    with pytest.raises(FailedError):
        corpus.move()
    corpus.server.fault_scenario = None
    corpus.move(corpus.model("text-embedding-3-large", dimensions=128))
    corpus.move(rollback=True)
    assert corpus.states()[SMALL] == "active"


def test_a_second_move_leaves_with_a_sentence(corpus: Corpus) -> None:
    with (
        connect(corpus.conninfo) as connection,
        generations.alone(connection),
        pytest.raises(FailedError, match="another reembed is running"),
    ):
        corpus.move()


def test_the_switch_waits_for_a_sync_that_runs(corpus: Corpus) -> None:
    with connect(corpus.conninfo) as connection:
        (source,) = sources.list_sources(connection)
        with in_thread(corpus.move), sources.owned(connection, source):
            time.sleep(1.5)
            assert corpus.states()[LOCAL] == "active"
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}


def test_waiting_for_syncs_has_an_end_that_says_which(corpus: Corpus) -> None:
    with connect(corpus.conninfo) as sync, connect(corpus.conninfo) as connection:
        (source,) = sources.list_sources(sync)
        with (
            sources.owned(sync, source),
            pytest.raises(SourceBusyError, match="syncs of library did not end within 1 s"),
            without_syncs(connection, NullProgress(), 0.6),
        ):
            pass
        with without_syncs(connection, NullProgress(), 0.6) as owned_ids:
            assert owned_ids == {source.id}


@pytest.mark.parametrize(("model", "requested", "dimensions"), [
    ("text-embedding-3-large", None, 3072),
    ("text-embedding-3-large", 1024, 1024),
    (SMALL, 256, 256),
])  # fmt: skip
def test_many_and_shortened_dimensions_go_through_the_index(
    corpus: Corpus, model: str, requested: int | None, dimensions: int
) -> None:
    settings = corpus.model(model, dimensions=requested)
    corpus.move(settings)
    with connect(corpus.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        assert generation.space.dimensions == dimensions
        assert hnsw.is_valid(connection, generation)
        assert (recall.measure(connection, generation, 64) or 0.0) > 0.98
    with running_api(settings, corpus.conninfo) as client:
        request = {"query": "Page 7: the page of number 7", "mode": "vector", "limit": 3}
        answer = client.post("/search", json=request).json()
    assert (answer["space"], answer["total_returned"]) == (f"openai/{model}/{dimensions}", 3)


@pytest.mark.parametrize("dimensions", [2000, 3072, 4000])
def test_the_index_takes_up_to_4000_dimensions(conninfo: str, library: Library, dimensions: int) -> None:
    library.write("more.md", "\n\n".join(f"## Part {n}\n\nOne more." for n in range(30)))
    library.sync()
    made = np.random.default_rng(7).normal(size=(100, dimensions)).astype(np.float32)
    with connect(conninfo) as connection:
        generation = generations.create_generation(connection, Space("openai", "wide", dimensions), "ready")
        chunks = connection.execute("select id, collection_id from chunks").fetchall()
        reuse.add_vectors(connection, generation, [(*row, made[at]) for at, row in enumerate(chunks)])
        hnsw.build(connection, generation, 16, 64)
        connection.commit()
        assert recall.measure(connection, generation, 64) == 1.0


def test_recall_counts_copies_of_a_neighbour_as_it(corpus: Corpus) -> None:
    assert recall.recall([[0.1, 0.2, 0.2]], [[0.1, 0.2, 0.2]]) == 1.0
    assert recall.recall([[0.1, 0.5, 0.6]], [[0.1, 0.2, 0.2]]) == pytest.approx(1 / 3)
    assert recall.recall([[0.1]], [[0.1, 0.2]]) == 0.5
    assert recall.recall([[], [0.0]], [[], [0.0]]) == 1.0
    assert recall.recall([[]], [[]]) is None


def test_searches_go_on_through_moves_and_rollbacks_without_a_mixed_answer(corpus: Corpus) -> None:
    """Every similarity that is told is that of the space that the answer names."""
    with running_api(corpus.hosted, corpus.conninfo) as client:
        queries = [f"which page tells of number {n}" for n in range(20)]
        clients = Clients(str(client.base_url), queries, 0.0)
        with clients.searching(3):
            time.sleep(0.3)
            corpus.move()
            for _ in range(6):
                time.sleep(0.15)
                corpus.move(rollback=True)
            corpus.move(corpus.model(SMALL))
            time.sleep(0.3)
    truth = Truth(corpus.conninfo)
    answers: list[TimedAnswer] = clients.answers
    assert [answer.error for answer in answers if answer.error] == []
    assert [answer for answer in answers if not answer.similarities] == []
    assert [answer for answer in answers if truth.is_mixed(answer)] == []
    assert {answer.space.split("/")[1] for answer in answers} == {LOCAL, TINY, SMALL}


def test_a_mixed_answer_would_be_seen(corpus: Corpus) -> None:
    corpus.move()
    with running_api(corpus.hosted, corpus.conninfo) as client:
        request: dict[str, Any] = {"query": "which page tells of number 7", "mode": "vector", "limit": 10}
        answer = client.post("/search", json=request).json()
    similarities = tuple((hit["chunk_id"], hit["similarity"]) for hit in answer["results"])
    truth = Truth(corpus.conninfo)
    right = TimedAnswer(0.0, 0.0, request["query"], "", answer["space"], similarities)
    assert not truth.is_mixed(right)
    assert truth.is_mixed(TimedAnswer(0.0, 0.0, request["query"], "", f"local/{LOCAL}/256", similarities))


def test_a_generation_of_another_state_is_not_dropped(corpus: Corpus) -> None:
    """As when a rollback takes it just before."""
    corpus.move()
    with connect(corpus.conninfo) as connection:
        (retired,) = generations.list_generations(connection, "retired")
        generations.activate(connection, retired)
        connection.commit()
        assert generations.drop_generation(connection, retired)
        active = generations.active_generation(connection)
    assert active == Generation(retired.id, retired.space, "active")
