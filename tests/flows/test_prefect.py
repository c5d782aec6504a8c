"""The flows on a real Prefect server, from their deployments, through a real process worker."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from base64 import b64decode
from contextlib import contextmanager
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
def notes(folder: Path, conninfo: str) -> str:
    """The folder, known as a source."""
    with connect(conninfo) as connection:
        return sources.ensure_source(connection, os.path.realpath(folder), name="notes").name


@pytest.fixture
def worker(user: dict[str, str], notes: str, tmp_path: Path) -> Iterator[None]:
    """The deployments of prefect.yaml and of the source, made in a folder of files, and a worker for them."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large.bin").write_bytes(b"not to be copied")
    deployed = subprocess.run(
        [sys.executable, "-m", "pgfolio", "deploy"],
        env=user,
        cwd=tmp_path / "elsewhere",
        check=True,
        capture_output=True,
        text=True,
    )
    assert deployed.stdout.split() == [
        "sync/scheduled", "reembed/manual", "index/manual", "verify/manual", "sync/source-notes",
    ]  # fmt: skip
    scheduled = deployment(user, "sync/scheduled")
    assert scheduled["schedules"][0]["schedule"]["interval"] == 900
    api(user, f"/deployments/{scheduled['id']}/pause_deployment", {})  # no run but the test's own
    with started_worker(user):
        yield


@contextmanager
def started_worker(user: dict[str, str]) -> Iterator[None]:
    with (Path(user["HOME"]) / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgfolio", "worker"],
            env={**user, "PREFECT_LOGGING_LEVEL": "INFO"},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        end(process)


def test_runs_of_deployments_are_told_of(user: dict[str, str], worker: None, folder: Path) -> None:
    refused = run_deployment(user, "sync/scheduled", sources=[str(folder.parent)])
    assert (refused["state"]["type"], "no known source" in refused["state"]["message"]) == ("FAILED", True)
    first = run_deployment(user, "sync/source-notes")
    assert (first["name"], first["state"]["type"], first["state"]["name"]) == (
        "sync notes",
        "COMPLETED",
        "Degraded",
    )
    assert "partial" in artifact(user, "sync-report")
    problems = json.loads(artifact(user, "sync-problems"))
    assert [(row["document"], row["stage"]) for row in problems] == [("broken.pdf", "extract")]
    wait_for(lambda: any(line.startswith("broken.pdf: extract: cannot") for line in log_of(user, first)), 20)
    said = log_of(user, first)
    assert f"syncing notes ({os.path.realpath(folder)})" in said
    assert not any("Downloading flow code" in line for line in said), "a run copies nothing"


@pytest.mark.long
def test_the_deployments_run_to_their_ends(
    user: dict[str, str], worker: None, folder: Path, conninfo: str
) -> None:
    assert run_deployment(user, "sync/source-notes")["state"]["name"] == "Degraded"
    (folder / "broken.pdf").unlink()
    second = run_deployment(user, "sync/scheduled", sources=[str(folder)])
    assert second["state"]["name"] == "Completed"
    assert run_deployment(user, "verify/manual")["state"]["name"] == "Completed"
    assert "0 findings" in artifact(user, "verify-report")
    third = run_deployment(user, "reembed/manual", dimensions=128)
    assert third["state"]["name"] == "Completed"
    with connect(conninfo) as connection:
        runs = connection.execute("select flow, status, started_by like 'prefect %%' from runs order by id")
        assert runs.fetchall() == [
            ("sync", "partial", True),
            ("sync", "complete", True),
            ("reembed", "complete", True),
        ]


@pytest.mark.long
def test_the_index_is_tuned_and_pictured(
    user: dict[str, str], worker: None, folder: Path, conninfo: str
) -> None:
    write_pages(folder)
    run_deployment(user, "sync/source-notes")
    tuned = run_deployment(user, "index/manual", tune=True, target_recall=1)
    assert tuned["state"]["name"] in {"Completed", "Degraded"}
    assert tuned["name"] == "index: tune"
    measured = json.loads(artifact(user, "index-measured"))
    assert {row["ef_search"] for row in measured} >= {10, 100}
    picture = artifact(user, "index-recall").removeprefix("data:image/svg+xml;base64,")
    assert b64decode(picture).count(b"<circle") >= len(measured)


@pytest.mark.long
def test_deployments_follow_the_sources_and_describe_their_parameters(
    user: dict[str, str], notes: str, conninfo: str, tmp_path: Path
) -> None:
    """That of a source that is gone goes, another's keeps the schedule that somebody gave it."""

    def deploy() -> None:
        subprocess.run([sys.executable, "-m", "pgfolio", "deploy"], env=user, check=True, capture_output=True)

    with connect(conninfo) as connection:
        gone = sources.ensure_source(connection, str(tmp_path), name="gone")
    deploy()
    made = deployment(user, "sync/source-notes")
    assert (made["parameters"], made["tags"]) == ({"sources": ["notes"]}, ["pgfolio", "sync", "one-source"])
    schema = made["parameter_openapi_schema"]["properties"]
    assert all(value["description"] for value in schema.values())
    assert schema["approve_deletes"].items() >= {"minimum": 0, "maximum": 100_000}.items()
    assert schema["max_cost"]["anyOf"][0].items() >= {"minimum": 0, "maximum": 10_000}.items()

    schedule = [{"schedule": {"interval": 86_400}, "active": True}]
    api(user, f"/deployments/{made['id']}/schedules", schedule)
    with connect(conninfo) as connection:
        sources.delete(connection, gone)
    deploy()
    names = {one["name"] for one in api(user, "/deployments/filter", {})}
    assert names >= {"scheduled", "source-notes"}
    assert "source-gone" not in names
    schedules = deployment(user, "sync/source-notes")["schedules"]
    assert [one["schedule"]["interval"] for one in schedules] == [86_400]
    automations = api(user, "/automations/filter", {})
    assert [(one["name"], one["enabled"]) for one in automations] == [
        ("pgfolio: a run without a heartbeat has crashed", True)
    ]


@pytest.mark.long
def test_a_run_that_is_cancelled_stands_in_runs_as_interrupted(
    user: dict[str, str], worker: None, folder: Path, conninfo: str
) -> None:
    """Its row said `TerminationSignal`."""
    write_pages(folder)
    slow = {"PGFOLIO_INDEX__M": "64", "PGFOLIO_INDEX__EF_CONSTRUCTION": "800"}
    run = start_deployment(user, "sync/source-notes", environment=slow)
    wait_for(lambda: "embedding and storing" in "".join(log_of(user, run)), 60)
    api(user, f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    assert ended_run(user, run)["state"]["name"] == "Cancelled"
    with connect(conninfo) as connection:
        row = connection.execute("select status, error from runs").fetchone()
    assert row == (
        "failed",
        "interrupted; what was done until then is stored, the next sync goes on from there",
    )


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
    write_pages(folder)
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


@pytest.mark.long
@pytest.mark.timeout(180)
def test_runs_that_are_late_together_are_done_by_one(user: dict[str, str], notes: str, folder: Path) -> None:
    """They ran one after the other, each over everything. The last one here: what it scheduled is there still."""
    (folder / "broken.pdf").unlink()
    subprocess.run([sys.executable, "-m", "pgfolio", "deploy"], env=user, check=True, capture_output=True)
    made = deployment(user, "sync/source-notes")
    of_ours = {"deployments": {"id": {"any_": [made["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
    earlier = {one["id"] for one in api(user, "/flow_runs/filter", of_ours)}
    schedule = {"schedule": {"interval": 20, "anchor_date": "2026-01-01T00:00:00Z"}, "active": True}
    api(user, f"/deployments/{made['id']}/schedules", [schedule])
    time.sleep(50)

    def ended() -> list[str]:
        found = [one for one in api(user, "/flow_runs/filter", of_ours) if one["id"] not in earlier]
        return [one["state"]["name"] for one in found if one["state"]["type"] == "COMPLETED"]

    with started_worker(user):
        wait_for(lambda: len(ended()) >= 2, 60)
    assert {"Completed", "Skipped"} <= set(ended())


def end(process: subprocess.Popen[bytes]) -> None:
    """Prefect's programs do not always heed the first signal."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def write_pages(folder: Path) -> None:
    rng = random.Random(1)
    words = [f"{a}{b}" for a in ("amber", "cedar", "delta", "fjord") for b in ("wood", "stone", "light")]
    for n in range(40):
        pages = (f"## Part {i}\n\n{' '.join(rng.choices(words, k=200))}." for i in range(25))
        (folder / f"{n:02}.md").write_text("\n\n".join(pages))


def deployment(user: dict[str, str], name: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{user['PREFECT_API_URL']}/deployments/name/{name}").json()
    return found


def start_deployment(
    user: dict[str, str], name: str, environment: dict[str, str] | None = None, **parameters: Any
) -> dict[str, Any]:
    """As `prefect deployment run` does."""
    body: dict[str, Any] = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    if environment:
        body["job_variables"] = {"env": environment}
    started: dict[str, Any] = api(user, f"/deployments/{deployment(user, name)['id']}/create_flow_run", body)
    return started


def ended_run(user: dict[str, str], run: dict[str, Any]) -> dict[str, Any]:
    """Waits for its end."""
    ended: dict[str, Any] = {}

    def done() -> bool:
        ended.update(httpx.get(f"{user['PREFECT_API_URL']}/flow_runs/{run['id']}").json())
        return ended["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    wait_for(done, 90)
    return ended


def run_deployment(user: dict[str, str], name: str, **parameters: Any) -> dict[str, Any]:
    return ended_run(user, start_deployment(user, name, **parameters))


def log_of(user: dict[str, str], run: dict[str, Any]) -> list[str]:
    """What stands in the log of its page."""
    lines = api(user, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    return [line["message"] for line in lines]


def artifact(user: dict[str, str], key: str) -> str:
    return str(httpx.get(f"{user['PREFECT_API_URL']}/artifacts/{key}/latest").json()["data"])


def api(user: dict[str, str], path: str, body: Any) -> Any:
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
