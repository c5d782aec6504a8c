"""A run that is killed at any step of handing in loses nothing, and what was handed in is not paid for again."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, get_args

import pytest

from tests.fakes.batch_api import Step
from tests.flows.batches.conftest import MODEL
from tests.flows.batches.test_batches import all_paid_once, handed_in
from tests.flows.library import counts

if TYPE_CHECKING:
    from tests.fakes.openai_server import FakeOpenAI
    from tests.flows.library import Library

STEPS: tuple[Step, ...] = get_args(Step)


@pytest.fixture
def command(environment: dict[str, str], openai_server: FakeOpenAI) -> dict[str, str]:
    """The environment of the library's own settings."""
    return {
        **environment,
        "OPENAI_API_KEY": openai_server.key or "",
        "OPENAI_BASE_URL": openai_server.url,
        "PGFOLIO_EMBEDDING__PROVIDER": "openai",
        "PGFOLIO_EMBEDDING__MODEL": MODEL,
        "PGFOLIO_EMBEDDING__DIMENSIONS": "64",
        "PGFOLIO_CHUNKING__TOKENS": "320",
    }


def started(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_killed_at_every_step_pays_once(
    metered: Library, openai_server: FakeOpenAI, command: dict[str, str]
) -> None:
    """It guards against paying twice. One process dies at each step; the last run goes on where they all were."""
    fake = openai_server.batches
    metered.sync(batch=True, max_cost=0.0)  # the source, and nothing else
    for step in STEPS:
        held = fake.hold(step)
        process = started(command, "sync", str(metered.root), "--batch")
        assert held.reached.wait(30), (step, process.poll())
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with contextlib.suppress(OSError):
            fake.release()
    assert len(fake.batches) == 1, fake.steps
    report = metered.sync(batch=True)
    assert (counts(report), report.status) == ({"added": 3}, "complete"), report.problems
    assert all_paid_once(openai_server, metered)
    assert report.tokens == fake.tokens


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_is_restarted_in_the_middle_is_paid_once(
    metered: Library, openai_server: FakeOpenAI, step: Step
) -> None:
    """It comes back on its port with what it had; the request that was under way is cut."""
    fake = openai_server.batches
    held = fake.hold(step)
    with ThreadPoolExecutor(1) as running:
        syncing = running.submit(metered.sync, batch=True)
        assert held.reached.wait(30)
        openai_server.down(0.5)
        fake.release()
        report = syncing.result(60)
    assert (counts(report), report.status) == ({"added": 3}, "complete"), report.problems
    assert len(fake.batches) == 1, fake.steps
    assert all_paid_once(openai_server, metered)


@pytest.mark.long
def test_who_stops_waiting_is_told_what_stays_at_work(
    metered: Library, openai_server: FakeOpenAI, command: dict[str, str]
) -> None:
    openai_server.batches.seconds = 3600
    held = openai_server.batches.hold("retrieve")
    process = started(command, "sync", str(metered.root), "--batch")
    assert held.reached.wait(30)
    openai_server.batches.release()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "26 texts are handed in and stay at work at the model server" in " ".join(error.split())
    (listed,) = handed_in(metered)
    assert (listed["state"], listed["texts"]) == ("handed_in", 26)
    shown = started(command, "status", "--json").communicate(timeout=30)[0]
    assert json.loads(shown)["batches"][0]["texts"] == 26
    openai_server.batches.seconds = 0
    assert metered.sync().status == "complete"
    assert all_paid_once(openai_server, metered)


@pytest.mark.parametrize("arguments", [("sync", "{root}", "--batch"), ("reembed", "--batch")])
def test_another_provider_has_no_batches(
    metered: Library, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    process = started(environment, *(part.format(root=metered.root) for part in arguments))
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert error.strip() == "error: --batch: only the provider openai has a Batch API, not local"
