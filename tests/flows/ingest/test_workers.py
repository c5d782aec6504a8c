"""A sync by several workers stores what one stores, whoever ends meanwhile; what is paid for and what may be stored
is decided in the database."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pgfolio.flows.embedding.budget import BudgetSpentError, SharedBudget
from pgfolio.flows.embedding.turns import SharedTurns
from pgfolio.flows.ingest.file_batch import file_batches
from pgfolio.flows.ingest.pipeline import SyncRun, run_sync, work_items_of
from pgfolio.flows.ingest.worker import SyncJob
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.flows.run.report import Report
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceLostError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs
from pgfolio.schema.vectors import claims, generations
from tests.fakes.openai_server import FaultScenario
from tests.faults.world import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Source
    from tests.fakes.openai_server import FakeOpenAI
    from tests.flows.library import Library

    Database = Callable[[], AbstractContextManager[str]]
    Make = Callable[..., Settings]

FILES = 480
"""More than a sync does in its own process."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    chance = random.Random(20)
    words = "river stone cloud lamp window bridge garden winter letter morning paper island".split()  # noqa: SIM905
    for n in range(FILES):
        file = root / f"part{n % 7}" / f"{n}.md"
        file.parent.mkdir(exist_ok=True)
        shared = f"Shared by some: {n % 40}, and no more than that."
        file.write_text(f"# Page {n}\n\n{' '.join(chance.choices(words, k=20))}\n\n## Other\n\n{shared}\n")
    (root / "empty.md").write_text("")
    (root / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    return root


def synced(settings: Settings, conninfo: str, root: Path, **options: Any) -> Report:
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(root), name="tree")
    return run_sync(settings, conninfo, [source], Options(**options))


def check(conninfo: str) -> None:
    """No chunk stands twice, and none lacks its vector."""
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        twice = "select document_id, ordinal from chunks group by 1, 2 having count(*) > 1"
        assert connection.execute(twice).fetchall() == []
        assert connection.execute("select count(*) from embedding_claims").fetchone() == (0,)


@pytest.mark.timeout(180)
def test_what_is_stored_does_not_depend_on_who_did_it(
    tree: Path, new_database: Database, new_settings: Make, cluster: str
) -> None:
    contents, reports = {}, {}
    ways: dict[str, dict[str, object]] = {
        "one": {"workers": 1},
        "four": {"workers": 4},
        "dask": {"executor": "dask", "dask_address": cluster},
        "dask, read here": {"executor": "dask", "dask_address": cluster, "read": "driver"},
    }
    for name, sync in ways.items():
        with new_database() as conninfo:
            settings = new_settings(database_url=conninfo, sync=sync)
            reports[name] = synced(settings, conninfo, tree)
            check(conninfo)
            contents[name] = stored(conninfo)
            assert synced(settings, conninfo, tree).documents.unchanged == FILES
    assert len(contents["one"]) >= FILES
    for name, report in reports.items():
        assert contents[name] == contents["one"], name
        assert (report.documents.added, report.documents.failed, report.skipped) == (FILES, 1, 1), name
        assert sum(worker.documents for worker in report.workers.values()) == FILES * (name != "one"), name
    assert len(reports["four"].workers) == 4
    assert len(reports["dask"].workers) == 2
    told = reports["four"].as_json()
    assert [row["worker"] for row in told["workers"]] == [f"worker {n}" for n in range(1, 5)]
    assert Report.of_json(told).workers.keys() == reports["four"].workers.keys()
    assert "| worker 4 | " in reports["four"].as_markdown("sync")


@contextmanager
def killing(find: Callable[[], list[psutil.Process]], every: float, times: int) -> Iterator[Counter[str]]:
    """One of them again and again, so many times."""
    done, count = threading.Event(), Counter[str]()
    chance = random.Random(7)

    def kill() -> None:
        while count["kills"] < times and not done.wait(every):
            if found := find():
                chance.choice(found).send_signal(signal.SIGKILL)
                count["kills"] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield count
    finally:
        done.set()
        thread.join()


def forked_workers() -> list[psutil.Process]:
    """Of this process: the children of the one that they are forked from."""
    servers = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
    return [worker for server in servers for worker in server.children()]


@pytest.mark.timeout(180)
def test_workers_that_are_killed_lose_nothing_and_no_text_is_paid_for_twice_but_what_was_in_flight(
    tree: Path, new_database: Database, new_settings: Make, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=0.02)
    embedding = {"provider": "openai", "model": "tiny-embedding", "batch_inputs": 16, "in_flight": 6}
    key = {"openai_api_key": openai_server.key, "openai_base_url": openai_server.url}
    contents = []
    for kill in (False, True):
        openai_server.requests.clear()
        with new_database() as conninfo:
            settings = new_settings(database_url=conninfo, embedding=embedding, sync={"workers": 3}, **key)
            with killing(forked_workers if kill else list, 0.7, 4) as count:
                report = synced(settings, conninfo, tree)
            assert (report.documents.added, report.documents.failed) == (FILES, 1)
            check(conninfo)
            contents.append(stored(conninfo))
        texts = Counter(text for r in openai_server.requests for text in r.body["input"])
        twice = sum(times - 1 for text, times in texts.items() if text != "dimensions")
        assert twice <= count["kills"] * 16 * 2  # of one worker, two requests
    assert count["kills"] >= 1
    assert contents[0] == contents[1]


@pytest.mark.long
def test_more_workers_than_requests_take_turns(
    tree: Path, conninfo: str, new_settings: Make, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=0.03)
    settings = new_settings(
        database_url=conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "tiny-embedding", "in_flight": 2},
        sync={"workers": 4},
    )
    assert synced(settings, conninfo, tree).documents.added == FILES
    assert openai_server.most_at_once <= 2


def test_a_limited_cost_holds_over_all_workers(
    tree: Path, conninfo: str, new_settings: Make, openai_server: FakeOpenAI
) -> None:
    settings = new_settings(
        database_url=conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "tiny-embedding", "batch_inputs": 32},
        prices={"tiny-embedding": 1000.0},
        sync={"workers": 3},
    )
    report = synced(settings, conninfo, tree, max_cost=10.0)
    assert 5.0 < report.cost_usd <= 10.0
    assert report.status == "partial"
    assert any("the $10.00 allowed are spent" in problem.reason for problem in report.problems)


def test_one_budget_is_spent_by_several_and_a_lost_reservation_counts(conninfo: str) -> None:
    with connect(conninfo) as connection:
        run_id = runs.start(connection, "sync", "test")
    first, second = (SharedBudget(1.0, 100.0, conninfo, run_id) for _ in range(2))
    with first.reserved(10) as bill:
        bill.tokens, bill.counted = 20, 10  # the server bills twice what we count
    with second.reserved(second.estimate(1)):
        pass
    assert second.estimate(10) == 20
    lost = second.reserved(60)
    lost.__enter__()
    second.close()  # its session ends, as a killed worker's does
    with pytest.raises(BudgetSpentError), first.reserved(30):
        pass
    with first.reserved(20) as bill:
        bill.tokens = 20
    assert (first.tokens, first.cost) == (40, 40.0)
    first.close()


def test_the_first_bill_is_waited_for_unless_whoever_would_get_it_is_gone(conninfo: str) -> None:
    with connect(conninfo) as connection:
        run_id = runs.start(connection, "sync", "test")
    first, second = (SharedBudget(1.0, 1000.0, conninfo, run_id) for _ in range(2))
    reserved = first.reserved(10)
    reserved.__enter__()
    with ThreadPoolExecutor(1) as pool:

        def ask() -> float:
            with second.reserved(1):
                return time.monotonic()

        waiting = pool.submit(ask)
        time.sleep(0.2)
        assert not waiting.done()
        first.close()
        waiting.result(5)
    second.close()


def test_turns_of_a_process_that_ended_are_given_to_others(conninfo: str) -> None:
    first, second = (SharedTurns(conninfo, 1, 1) for _ in range(2))
    held = first.turn()
    held.__enter__()
    with ThreadPoolExecutor(1) as pool:

        def take() -> bool:
            with second.turn():
                return True

        waiting = pool.submit(take)
        time.sleep(0.1)
        assert not waiting.done()
        first.close()
        assert waiting.result(5)
    second.close()


def test_a_claim_is_waited_for_until_its_owner_is_done_or_gone(library: Library) -> None:
    library.sync()
    hashes = [bytes([n]) * 32 for n in range(3)]
    with (
        connect(library.conninfo, autocommit=True) as one,
        connect(library.conninfo, autocommit=True) as other,
        connect(library.conninfo, autocommit=True) as third,
        ThreadPoolExecutor(1) as pool,
    ):
        generation = generations.active_generation(one)
        assert generation is not None
        with claims.claimed(one, generation, hashes[:2]) as mine:
            assert sorted(mine) == hashes[:2]
            with claims.claimed(other, generation, hashes) as theirs:
                assert theirs == hashes[2:]
            waiting = pool.submit(claims.wait, other, generation, hashes)
            time.sleep(0.1)
            assert not waiting.done()
            pid = one.info.backend_pid
            third.execute("select pg_terminate_backend(%s)", [pid])
            waiting.result(5)
            one.close()
        with claims.claimed(other, generation, hashes) as theirs:
            assert sorted(theirs) == hashes
        assert other.execute("select count(*) from embedding_claims").fetchone() == (0,)


def job_of(settings: Settings, conninfo: str, source: Source) -> tuple[SyncJob, list[Any]]:
    """What a worker of a sync of this source would be given."""
    run = SyncRun(settings, conninfo, Options())
    with connect(conninfo) as connection:
        survey = run.survey(connection, source)
        generation = run.active_generation(connection)
    job = SyncJob(
        settings=settings,
        conninfo=conninfo,
        source=source,
        generation=generation,
        processing=run.processing,
        embedder=run.embedder_plan(generation),
        slots=1,
        parsers=1,
    )
    return job, list(file_batches(work_items_of(survey.plan), 1))


def test_a_batch_that_is_done_twice_is_stored_once_and_counted(library: Library) -> None:
    library.sync()
    library.write("animals.md", "# Animals\n\nAnother text.\n")
    library.write("new.md", "# New\n\nA page.\n")
    library.write("nothing.md", "")
    time.sleep(0.03)
    with (
        connect(library.conninfo) as connection,
        sources.owned(connection, sources.list_sources(connection)[0]) as source,
    ):
        job, batches = job_of(library.settings, library.conninfo, source)
        with job.open() as work:
            first = [work(batch) for batch in batches]
            before = library.rows("select id, xmin::text from documents order by id")
            again = [work(batch) for batch in batches]
    assert [(o.added, o.changed, o.files) for o in first] == [(1, 1, 3)]
    assert [(o.added, o.changed, o.files) for o in again] == [(1, 1, 3)]
    assert library.rows("select id, xmin::text from documents order by id") == before
    library.check()


def test_a_worker_whose_run_has_lost_its_source_stores_nothing(library: Library) -> None:
    library.sync()
    library.write("new.md", "# New\n\nA page.\n")
    with connect(library.conninfo) as connection, connect(library.conninfo) as other:
        source = sources.list_sources(connection)[0]
        with sources.owned(connection, source) as owned:
            job, batches = job_of(library.settings, library.conninfo, owned)
        with (
            sources.owned(other, source),
            job.open() as work,
            pytest.raises(SourceLostError, match="taken over"),
        ):
            work(batches[0])
    assert set(library.stored()) == {"animals.md", "garden/plants.md"}


def test_who_becomes_owner_waits_for_what_is_being_stored_and_then_sees_it(library: Library) -> None:
    library.sync()
    with (
        connect(library.conninfo) as connection,
        connect(library.conninfo) as worker,
        connect(library.conninfo) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        source = sources.list_sources(connection)[0]
        with sources.owned(connection, source) as owned:
            pass  # believed to be dead
        sources.prove_owner(worker, owned)
        worker.execute("update documents set title = 'stored late' where path = 'animals.md'")

        def take_over() -> Any:
            with sources.owned(other, source):
                return other.execute("select title from documents where path = 'animals.md'").fetchone()

        waiting = pool.submit(take_over)
        time.sleep(0.1)
        assert not waiting.done()
        worker.commit()
        assert waiting.result(5) == ("stored late",)
        with pytest.raises(SourceLostError):
            sources.prove_owner(worker, owned)


@pytest.mark.timeout(120)
def test_of_two_drivers_that_both_believe_to_own_a_source_one_leaves_with_a_sentence(
    tree: Path, new_database: Database, new_settings: Make, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=0.05)
    with new_database() as conninfo, ThreadPoolExecutor(1) as pool:
        settings = new_settings(
            database_url=conninfo,
            openai_api_key=openai_server.key,
            openai_base_url=openai_server.url,
            embedding={"provider": "openai", "model": "tiny-embedding", "batch_inputs": 8, "in_flight": 2},
            sync={"workers": 2},
        )
        first = pool.submit(synced, settings, conninfo, tree)
        with connect(conninfo, autocommit=True) as connection:
            while not connection.execute("select 1 from documents limit 1").fetchone():
                time.sleep(0.02)
                assert not first.done()
            # Another has become the owner, as when a pooler gave the session of its lock to somebody else.
            connection.execute("update sources set fence = fence + 1")
        with pytest.raises(
            FailedError, match="another sync of 'tree' has taken over: this one stores nothing more"
        ):
            first.result(60)
        openai_server.fault_scenario = FaultScenario()
        report = synced(settings, conninfo, tree)
        assert (report.status, report.documents.failed) == ("partial", 1)
        check(conninfo)
