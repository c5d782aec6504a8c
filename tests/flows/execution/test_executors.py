"""Every executor does every item, whoever ends meanwhile, and says what went wrong."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from pgfolio.config.models.protocols import FatalModelError
from pgfolio.flows.execution.dask import ClusterError, DaskExecutor
from pgfolio.flows.execution.inline import InlineExecutor
from pgfolio.flows.execution.job import MAX_WEIGHT
from pgfolio.flows.execution.processes import ProcessExecutor, WorkersEndError
from tests.flows.execution.jobs import Squares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.flows.execution.job import Executor

    Make = Callable[[], Executor]


def inline() -> Executor:
    return InlineExecutor()


def processes() -> Executor:
    return ProcessExecutor(3, ())


@pytest.fixture(params=["inline", "processes", "dask"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "dask":
        address: str = request.getfixturevalue("cluster")
        return lambda: DaskExecutor(address)
    return inline if request.param == "inline" else processes


@pytest.fixture(params=["processes", "dask"])
def make_others(request: pytest.FixtureRequest) -> Make:
    if request.param == "dask":
        address: str = request.getfixturevalue("cluster")
        return lambda: DaskExecutor(address)
    return processes


def items(count: int) -> list[list[int]]:
    return [[n, n + 1000] for n in range(count)]


def squares(executor: Executor, job: Squares, of: list[list[int]]) -> list[int]:
    with closing(executor):
        return sorted(number for done in executor.run(job, of) for number in done.result)


def test_every_item_is_done_once(make: Make, tmp_path: Path) -> None:
    expected = sorted(n * n for item in items(40) for n in item)
    assert squares(make(), Squares(str(tmp_path)), items(40)) == expected
    assert len(list(tmp_path.glob("*.done"))) == 40


def test_one_executor_does_several_jobs(make: Make, tmp_path: Path) -> None:
    with closing(make()) as executor:
        for count in (5, 0, 7):
            job = Squares(str(tmp_path))
            assert len(list(executor.run(job, items(count)))) == count


def test_several_work_at_once(make_others: Make, tmp_path: Path) -> None:
    with closing(make_others()) as executor:
        workers = {done.worker for done in executor.run(Squares(str(tmp_path), seconds=0.05), items(12))}
    assert len(workers) == executor.processes


def test_what_a_worker_had_that_ended_is_done_by_others(make_others: Make, tmp_path: Path) -> None:
    job = Squares(str(tmp_path), deadly=((3, 1), (7, 1)))
    assert squares(make_others(), job, items(12)) == sorted(n * n for item in items(12) for n in item)


@pytest.mark.timeout(120)
def test_an_item_over_which_workers_end_is_tried_in_parts_and_given_up_alone(
    make_others: Make, tmp_path: Path
) -> None:
    job = Squares(str(tmp_path), deadly=((3, 100),))
    found = squares(make_others(), job, items(6))
    assert found == sorted([-3, *(n * n for item in items(6) for n in item if n != 3)])


@pytest.mark.timeout(120)
def test_an_item_is_not_given_up_for_what_its_neighbour_does(make_others: Make, tmp_path: Path) -> None:
    """The same worker has both when it ends."""
    job = Squares(str(tmp_path), deadly=((3, 100), (5, 100)))
    assert squares(make_others(), job, [[n] for n in range(3, 12)]) == [-5, -3, 16, 36, 49, 64, 81, 100, 121]


def test_a_neighbour_of_one_process_is_not_given_up(tmp_path: Path) -> None:
    job = Squares(str(tmp_path), deadly=((3, 100),))
    assert squares(ProcessExecutor(1, ()), job, [[3], [4]]) == [-3, 16]


def test_an_error_ends_the_run_with_its_sentence_and_leaves_no_process(make: Make, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    executor = make()
    with closing(executor), pytest.raises(FatalModelError, match="the key is wrong"):
        for _ in executor.run(Squares(str(tmp_path), wrong=5, seconds=0.01), items(500)):
            pass
    assert len(list(tmp_path.glob("*.done"))) < 100
    if isinstance(executor, ProcessExecutor):
        left = {child.pid for child in psutil.Process().children()} - before
        assert all("forkserver" in " ".join(psutil.Process(pid).cmdline()) for pid in left)


def test_an_executor_that_is_left_early_stops_its_workers(make: Make, tmp_path: Path) -> None:
    executor = make()
    with (
        closing(executor),
        closing(executor.run(Squares(str(tmp_path), seconds=0.01), items(500))) as results,
    ):
        next(results)
    done = len(list(tmp_path.glob("*.done")))
    time.sleep(0.2)
    assert len(list(tmp_path.glob("*.done"))) == done < 100


def test_items_wait_while_others_are_too_heavy(make: Make, tmp_path: Path) -> None:
    given: list[int] = []
    heavy = Squares(str(tmp_path), bytes_each=MAX_WEIGHT)

    def one_by_one() -> Iterator[list[int]]:
        for n in range(6):
            given.append(n)
            yield [n]

    with closing(make()) as executor:
        for number, _ in enumerate(executor.run(heavy, one_by_one())):
            # One is looked at ahead, and waits.
            assert len(given) <= number + 2


def test_workers_that_end_at_once_end_the_run(tmp_path: Path) -> None:
    with closing(ProcessExecutor(1, ())) as executor, pytest.raises(WorkersEndError, match="end before"):
        list(
            executor.run(
                Squares(str(tmp_path), deadly=tuple((n, 99) for n in range(20))), [[n] for n in range(9)]
            )
        )


def test_a_cluster_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(
        ClusterError, match=r"cannot reach the Dask scheduler tcp://127\.0\.0\.1:9: is it running"
    ):
        DaskExecutor("tcp://127.0.0.1:9")
