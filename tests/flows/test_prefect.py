"""The flows on a real Prefect server, from their deployments, through a real process worker."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user whose Prefect API is a server of the test's own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(home),  # prefect's runner_storage in the shared one is its first user's
        "PREFECT_HOME": str(home / ".prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(environment["PREFECT_API_URL"] + "/health"), 90)
        yield environment
    finally:
        end(process)


@pytest.fixture
def user(server: dict[str, str], tmp_path: Path, conninfo: str) -> dict[str, str]:
    return {**server, "PGFOLIO_HOME": str(tmp_path / "state"), "PGFOLIO_DATABASE_URL": conninfo}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    (made / "bread.md").write_text("# Bread\n\nSourdough bread needs flour, water, salt and a lot of time.\n")
    (made / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    return made


@pytest.fixture
def worker(user: dict[str, str]) -> Iterator[None]:
    """The deployments of prefect.yaml, and a process worker for them."""
    subprocess.run([sys.executable, "-m", "pgfolio", "deploy"], env=user, cwd=user["HOME"], check=True)
    scheduled = httpx.get(f"{user['PREFECT_API_URL']}/deployments/name/sync/scheduled").json()
    assert scheduled["schedules"][0]["schedule"]["interval"] == 900
    api(user, f"/deployments/{scheduled['id']}/pause_deployment", {})  # no run but the test's own
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pgfolio", "--type", "process"],
        env=user,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    end(process)


def test_the_deployments_run_to_completed_and_their_reports_are_visible(
    user: dict[str, str], worker: None, folder: Path, conninfo: str
) -> None:
    refused = run_deployment(user, "sync/scheduled", sources=[str(folder)])
    assert (refused["state"]["type"], "no known source" in refused["state"]["message"]) == ("FAILED", True)
    with connect(conninfo) as connection:
        sources.ensure_source(connection, os.path.realpath(folder), name="notes")
    first = run_deployment(user, "sync/scheduled", sources=["notes"])
    assert (first["state"]["type"], first["state"]["name"]) == ("COMPLETED", "Degraded")
    report = artifact(user, "sync-report")
    assert "broken.pdf" in report
    assert "partial" in report
    (folder / "broken.pdf").unlink()
    second = run_deployment(user, "sync/scheduled", sources=[str(folder)])
    assert (second["state"]["type"], second["state"]["name"]) == ("COMPLETED", "Completed")
    third = run_deployment(user, "reembed/manual", dimensions=128)
    assert third["state"]["name"] == "Completed"
    with connect(conninfo) as connection:
        runs = connection.execute("select flow, status, started_by like 'prefect %%' from runs order by id")
        assert runs.fetchall() == [
            ("sync", "partial", True),
            ("sync", "complete", True),
            ("reembed", "complete", True),
        ]


def test_the_command_makes_a_flow_run_where_a_prefect_api_answers(user: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.flows", "sync", str(folder), "--json"],
        env=user,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["documents"]["added"], report["documents"]["failed"]) == (3, 1, 1)
    by_hand = {"deployment_id": {"is_null_": True}}  # those that a schedule has planned begin later still
    runs = api(user, "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1, "flow_runs": by_hand})
    assert (runs[0]["state"]["name"], runs[0]["deployment_id"]) == ("Degraded", None)
    tasks = api(user, "/task_runs/filter", {"flow_runs": {"id": {"any_": [runs[0]["id"]]}}})
    assert {task["name"].rpartition("-")[0] for task in tasks} == {
        "crawl and plan notes",
        "apply notes",
        "index",
    }


@pytest.mark.long
def test_the_build_of_an_index_is_a_progress_artifact(user: dict[str, str], folder: Path) -> None:
    rng = random.Random(1)
    words = [f"{a}{b}" for a in ("amber", "cedar", "delta", "fjord") for b in ("wood", "stone", "light")]
    for n in range(40):
        pages = (f"## Part {i}\n\n{' '.join(rng.choices(words, k=200))}." for i in range(25))
        (folder / f"{n:02}.md").write_text("\n\n".join(pages))
    slow = {"PGFOLIO_INDEX__M": "64", "PGFOLIO_INDEX__EF_CONSTRUCTION": "800"}
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.flows", "sync", str(folder)],
        env={**user, **slow},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr  # for broken.pdf
    artifact = httpx.get(f"{user['PREFECT_API_URL']}/artifacts/sync-index/latest").json()
    assert (artifact["type"], artifact["data"], artifact["description"]) == (
        "progress",
        100.0,
        "building the index",
    )
    assert artifact["flow_run_id"]


def test_a_second_sync_beside_a_flow_run_is_one_line(
    user: dict[str, str], folder: Path, conninfo: str
) -> None:
    """It printed the traceback of Prefect's engine."""
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, os.path.realpath(folder), name="notes")
        connection.commit()
        with sources.owned(connection, source):
            done = subprocess.run(
                [sys.executable, "-m", "pgfolio.flows", "sync", str(folder)],
                env=user,
                capture_output=True,
                text=True,
                check=False,
            )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: another sync of 'notes' is running")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_prefect_api_that_does_not_answer_does_not_stop_a_sync(user: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.flows", "sync", str(folder)],
        env={**user, "PREFECT_API_URL": "http://127.0.0.1:1/api"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "does not answer: running without it" in done.stderr


def end(process: subprocess.Popen[bytes]) -> None:
    """Prefect's programs do not always heed the first signal."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def prefect(user: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=user,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_deployment(user: dict[str, str], name: str, **parameters: Any) -> dict[str, Any]:
    """Start a run as `prefect deployment run` does, and wait for its end."""
    deployment = httpx.get(f"{user['PREFECT_API_URL']}/deployments/name/{name}").json()
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    run = api(user, f"/deployments/{deployment['id']}/create_flow_run", body)
    ended: dict[str, Any] = {}

    def done() -> bool:
        ended.update(httpx.get(f"{user['PREFECT_API_URL']}/flow_runs/{run['id']}").json())
        return ended["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    wait_for(done, 90)
    return ended


def artifact(user: dict[str, str], key: str) -> str:
    return str(httpx.get(f"{user['PREFECT_API_URL']}/artifacts/{key}/latest").json()["data"])


def api(user: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    """A POST, tried again while the server's SQLite is locked (503), as Prefect's own client does."""
    answer = httpx.post(user["PREFECT_API_URL"] + path, json=body, timeout=30)
    for _ in range(20):
        if answer.status_code != 503:
            break
        time.sleep(0.5)
        answer = httpx.post(user["PREFECT_API_URL"] + path, json=body, timeout=30)
    return answer.raise_for_status().json() if answer.content else None


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
