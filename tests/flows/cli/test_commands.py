"""The command as its user runs it: a process with arguments, output and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import KEY, FakeOpenAI, FaultScenario
from tests.programs import pgfolio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def made(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return pgfolio(*arguments, environment={**environment, **variables})

    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    (made / "bread.md").write_text("# Bread\n\nSourdough bread needs flour, water, salt and a lot of time.\n")
    (made / "trees.md").write_text("# Trees\n\nAn oak tree can live for a thousand years.\n")
    return made


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    last_object: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last_object


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_sync_prints_one_json_object_last(run: Run, folder: Path) -> None:
    done = run("sync", str(folder), "--json")
    report = last_json(done)
    assert (done.returncode, report["status"], report["documents"]["added"]) == (0, "complete", 2)
    assert set(report) == {
        "run_id", "status", "documents", "chunks", "tokens", "cost_usd", "seconds", "problems",
    }  # fmt: skip
    assert set(report["documents"]) == {
        "added", "changed", "moved", "removed", "unchanged", "failed", "held",
    }  # fmt: skip
    assert set(report["chunks"]) == {"total", "embedded", "reused"}
    assert set(report["seconds"]) == {"total", "crawl", "extract", "chunk", "embed", "store", "index"}
    assert report["seconds"]["chunk"] > 0


def test_a_folder_stays_known_under_its_name(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    (folder / "new.md").write_text("# New\n\nA new page.\n")
    assert last_json(run("sync", "--json"))["documents"]["added"] == 1
    assert last_json(run("sync", "notes", "--json"))["documents"]["unchanged"] == 3


def test_a_plan_is_printed_and_changes_nothing(run: Run, folder: Path) -> None:
    planned = last_json(run("sync", str(folder), "--plan", "--json"))
    assert (planned["status"], planned["documents"]["added"]) == ("planned", 2)
    assert last_json(run("status", "--json"))["sources"] == []


def test_a_partial_run_exits_with_3_and_lists_its_problems(run: Run, folder: Path) -> None:
    (folder / "data.pdf").write_bytes(b"%PDF-1.4 broken")
    done = run("sync", str(folder))
    assert done.returncode == 3
    assert "data.pdf" in done.stdout
    assert "cannot be read as application/pdf" in done.stdout


def test_status_shows_sources_spaces_and_runs(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    status = last_json(run("status", "--json"))
    assert status["sources"][0]["documents"] == 2
    assert status["generations"][0] | {"index_mb": 0} == {
        "space": "local/wordllama-256/256", "state": "active", "vectors": 2, "index": "valid", "index_mb": 0,
    }  # fmt: skip
    assert [row["status"] for row in status["runs"]] == ["complete"]


def test_prefixes_that_were_set_later_are_said_to_have_no_effect(run: Run, folder: Path) -> None:
    prefixes = {
        "PGFOLIO_EMBEDDING__QUERY_PREFIX": "query: ",
        "PGFOLIO_EMBEDDING__DOCUMENT_PREFIX": "passage: ",
    }
    run("sync", str(folder))
    [note] = last_json(run("sync", str(folder), "--json", **prefixes))["notes"]
    assert "without the settings' query_prefix 'query: '" in note
    assert "document_prefix 'passage: '" in note
    assert "`pgfolio reembed`" in note
    assert last_json(run("status", "--json", **prefixes))["generations"][0]["prefixes"] == note
    assert "pgfolio reembed" in run("status", **prefixes).stdout
    assert "prefixes" not in last_json(run("status", "--json"))["generations"][0]


def test_search_finds_the_document(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    done = run("search", "how old does an oak get", "--json")
    assert done.returncode == 0
    assert last_json(done)["results"][0]["path"] == "trees.md"


def test_ask_quotes_the_document(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    answer = last_json(run("ask", "How long can an oak tree live?", "--json"))
    assert answer["answered"]
    citation = answer["citations"][0]
    assert citation["quote"] in (folder / citation["path"]).read_text()


@pytest.mark.long
def test_reembed_moves_to_other_dimensions(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    assert last_json(run("reembed", "--dimensions", "128", "--plan", "--json"))["status"] == "planned"
    done = run("reembed", "--dimensions", "128", "--json")
    assert (done.returncode, last_json(done)["chunks"]["embedded"]) == (0, 2)
    assert last_json(run("status", "--json"))["generations"][0]["space"] == "local/wordllama-256/128"
    assert last_json(run("search", "oak", "--json"))["results"][0]["path"] == "trees.md"


@pytest.mark.parametrize(
    "command", ["", "up", "sync", "reembed", "status", "search", "ask", "serve", "migrate"]
)
def test_every_command_has_help(run: Run, command: str) -> None:
    done = run(*command.split(), "--help")
    assert (done.returncode, done.stdout.startswith("Usage:")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (["sync", "/no/such/folder"], {}, 2, "no such folder or source: /no/such/folder"),
        (["sync"], {}, 2, "there is no source yet"),
        (["sync", "--approve-deletes", "some"], {}, 2, "--approve-deletes"),
        (["nonsense"], {}, 2, "No such command"),
        (["keys", "add", "--expires", "99999999d"], {}, 2, "write a date up to 9999-12-31"),
        (["status"], {"PGFOLIO_CONFIG": "/no/such.toml"}, 2, "cannot read /no/such.toml"),
        (["status"], {"PGFOLIO_API__PORT": "many"}, 2, "PGFOLIO_API__PORT"),
        (["search", "x"], {"PGFOLIO_API__PORT": "many"}, 2, "PGFOLIO_API__PORT"),
        (["status"], {"PGFOLIO_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 1, "cannot reach the database"),
        (["search", "x"], {"PGFOLIO_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 1, "cannot reach"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    run: Run, arguments: list[str], variables: dict[str, str], code: int, said: str
) -> None:
    done = run(*arguments, **variables)
    assert done.returncode == code
    assert said in error_line(done)


def test_a_wrong_key_is_one_clear_line(run: Run, folder: Path, openai_server: FakeOpenAI) -> None:
    done = run(
        "sync",
        str(folder),
        PGFOLIO_EMBEDDING__PROVIDER="openai",
        OPENAI_BASE_URL=openai_server.url,
        OPENAI_API_KEY="sk-wrong",
    )
    assert done.returncode == 1
    assert "check OPENAI_API_KEY" in error_line(done)
    assert "sk-wrong" not in done.stderr + done.stdout


def test_verbose_shows_where_an_error_came_from(run: Run) -> None:
    done = run("--verbose", "status", PGFOLIO_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert done.returncode == 1
    traceback, message = done.stderr.rsplit("error:", 1)
    assert "Traceback (most recent call last)" in traceback
    assert "UnreachableError: cannot reach the database" in traceback
    assert "cannot reach the database" in message


def test_escape_sequences_in_file_names_do_not_reach_the_terminal(run: Run, folder: Path) -> None:
    (folder / "a\x1b]0;pwned\x07\x9b2J.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "b\x1b]0;pwned\x07\x9b2J.md").write_text("# B\n\nA page of its own.\n")
    for arguments in (("sync", str(folder), "--plan"), ("sync", str(folder)), ("status",)):
        done = run(*arguments)
        assert "\ufffd]0;pwned\ufffd\ufffd2J" in done.stdout
        assert [c for c in done.stdout + done.stderr if unicodedata.category(c) == "Cc" and c != "\n"] == []


def test_a_key_is_listed_by_the_name_it_has(run: Run) -> None:
    run("keys", "add", "--name", "[/bold] of mine")
    done = run("keys", "list")
    assert (done.returncode, "[/bold] of mine" in done.stdout) == (0, True)


def test_a_port_in_use_is_one_clear_line(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        served, upped = run("serve", "--port", port), run("up", str(folder), "--port", port)
    assert (served.returncode, upped.returncode) == (1, 1)
    assert f"{port}" in error_line(served)
    assert f"{port}" in error_line(upped)


def test_a_document_that_lacks_something_is_stored_and_told_everywhere(run: Run, folder: Path) -> None:
    (folder / "cut.md").write_bytes("# Züge\n\nDer Zug nach Übersee fährt früh.\n".encode() + b"\xff\n")
    done = run("sync", str(folder), "--json")
    report = last_json(done)
    assert (done.returncode, report["status"], report["incomplete"]) == (0, "complete", 1)
    reason = "a byte is in no known encoding"
    assert report["notes"] == [f"cut.md is incomplete: {reason}"]
    incomplete = [{"source": "notes", "path": "cut.md", "reason": reason}]
    assert last_json(run("status", "--json"))["incomplete"] == incomplete
    assert last_json(run("verify", "--json"))["incomplete"] == incomplete
    for command in ("status", "verify"):
        assert "cut.md" in run(command).stdout
    (folder / "cut.md").write_text("# Züge\n\nDer Zug nach Übersee fährt früh.\n")
    assert "incomplete" not in last_json(run("sync", str(folder), "--json"))
    assert last_json(run("status", "--json"))["incomplete"] == []


@pytest.mark.long
def test_a_question_may_begin_with_a_dash(run: Run, folder: Path) -> None:
    run("sync", str(folder))
    for command in ("search", "ask"):
        done = run(command, "--json", "--", "-v oak tree")
        assert done.returncode == 0, done.stderr


def test_up_finds_a_port_that_is_free(environment: dict[str, str], folder: Path) -> None:
    with started(environment, "up", str(folder), "--port", "0", "--every", "0") as process:
        assert process.stderr is not None
        line = next(line.decode() for line in process.stderr if b"The API answers at" in line)
        address = line.split("answers at ")[1].split(";")[0]
        assert search_paths(address, "oak tree") == ["trees.md", "bread.md"]


def test_up_answers_from_what_is_stored_where_its_first_sync_fails(
    environment: dict[str, str], run: Run, folder: Path
) -> None:
    run("sync", str(folder))
    folder.rename(folder.with_name("elsewhere"))
    port = free_port()
    with started(environment, "up", "--port", str(port), "--every", "0") as process:
        assert process.stderr is not None
        assert any(b"what is stored can be searched" in line for line in process.stderr)
        wait_until(
            lambda: search_paths(f"http://127.0.0.1:{port}", "oak tree") == ["trees.md", "bread.md"], 20
        )


def test_an_empty_name_is_no_folder(run: Run) -> None:
    done = run("sync", "")
    assert (done.returncode, "is a variable unset?" in error_line(done)) == (2, True)


def test_ctrl_c_in_the_middle_of_a_sync_leaves_nothing_half_done(
    environment: dict[str, str], conninfo: str, folder: Path, openai_server: FakeOpenAI, run: Run
) -> None:
    for n in range(300):
        (folder / f"{n}.md").write_text(f"# Page {n}\n\nThis page tells of the number {n}.\n")
    openai_server.fault_scenario = FaultScenario(delay=0.3)
    hosted = {
        "PGFOLIO_EMBEDDING__PROVIDER": "openai",
        "PGFOLIO_EMBEDDING__IN_FLIGHT": "1",
        "OPENAI_BASE_URL": openai_server.url,
        "OPENAI_API_KEY": str(openai_server.key),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", "sync", str(folder)],
        env={**environment, **hosted},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: documents(conninfo) > 0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    stored = documents(conninfo)
    assert 0 < stored < 302
    with connect(conninfo) as connection:
        assert connection.execute("select status from runs").fetchall() == [("failed",)]
    openai_server.fault_scenario = None
    report = last_json(run("sync", "--json", **hosted))
    assert (report["status"], report["documents"]["added"]) == ("complete", 302 - stored)


def test_ctrl_c_does_not_wait_for_a_parser_that_never_ends(
    environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    began = tmp_path / "began"
    program = tmp_path / "tesseract"
    program.write_text(f"#!/bin/sh\ntouch {began}\nexec sleep 60\n")
    program.chmod(0o755)
    for n in range(5):
        (folder / f"{n}.png").write_bytes(b"\x89PNG\r\n\x1a\n%d" % n)
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", "sync", str(folder)],
        env={**environment, "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"},
        stderr=subprocess.DEVNULL,
    )
    wait_until(began.exists, 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


@pytest.mark.long
def test_up_starts_the_listener_again(environment: dict[str, str], folder: Path) -> None:
    port = free_port()
    with started(environment, "up", str(folder), "--port", str(port), "--every", "0") as process:
        assert process.stderr is not None
        assert any(b"Ctrl-C stops everything" in line for line in process.stderr)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        listener = [p for p in children if b"flows.listen" in Path(f"/proc/{p}/cmdline").read_bytes()]
        os.kill(int(*listener), signal.SIGSEGV)
        assert any(b"it is started again in 1 s" in line for line in process.stderr)
        text = {"title": "Tides", "content": "The moon makes the tides of the sea."}
        pushed = httpx.post(f"http://127.0.0.1:{port}/documents?wait=25", json=text, timeout=30)
        assert pushed.status_code == 201


def test_up_syncs_serves_takes_what_is_pushed_and_stops_at_ctrl_c(
    environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    with started(environment, "up", str(folder), "--port", str(port), "--every", "0") as process:
        address = f"http://127.0.0.1:{port}"
        assert process.stderr is not None
        assert any(b"Ctrl-C stops everything" in line for line in process.stderr)
        assert search_paths(address, "oak tree") == ["trees.md", "bread.md"]
        text = {"title": "Tides", "content": "The moon makes the tides of the sea."}
        pushed = httpx.post(f"{address}/documents?wait=25", json=text, timeout=30)
        assert (pushed.status_code, pushed.json()["state"]) == (201, "ok")
        assert search_paths(address, "tides of the sea")[0] == pushed.json()["path"]
        again = time.monotonic()
        assert httpx.post(f"{address}/documents?wait=25", json=text, timeout=30).status_code == 201
        assert time.monotonic() - again < 5.0  # woken, not found by chance
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health/live")


@pytest.mark.long
@pytest.mark.timeout(150)
def test_the_schedule_begins_whatever_ends_while_it_starts(environment: dict[str, str], folder: Path) -> None:
    with started(environment, "up", str(folder), "--port", "0", "--every", "60") as process:
        for part in ("pgfolio.flows.listen", "server start"):
            kill_child(process.pid, part)
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.decode())
            if "Syncing again every 60 s" in lines[-1]:
                break
        said = "".join(lines)
        assert "there is no schedule yet: prefect ended with exit code -9" in said
        assert "it is tried again in 1 s" in said
        kill_child(process.pid, "pgfolio.flows.listen")  # it is back


def kill_child(pid: int, part: str) -> None:
    """As soon as there is one with that in its command."""
    while True:
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in " ".join(child.cmdline()):
                    child.kill()
                    return
        time.sleep(0.05)


@pytest.mark.long
def test_up_searches_at_once_and_moves_to_the_better_model_behind(
    environment: dict[str, str], run: Run, folder: Path, openai_server: FakeOpenAI
) -> None:
    """What is run later, and names no model, goes on in the better space."""
    environment |= {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": openai_server.url,
        "PGFOLIO_UPGRADE__NICENESS": "0",
    }
    openai_server.fault_scenario = FaultScenario(status=503, retry_after=0.2, only="embeddings")
    port = free_port()
    arguments = ("up", str(folder), "--port", str(port), "--every", "0", "--model", "tiny-embedding")
    with started(environment, *arguments) as process:
        assert process.stderr is not None
        assert any(b"Ctrl-C stops everything" in line for line in process.stderr)
        address = f"http://127.0.0.1:{port}"
        assert search_paths(address, "oak tree") == ["trees.md", "bread.md"]
        before = httpx.get(f"{address}/status").json()
        assert [row["space"] for row in before["generations"]] == ["local/wordllama-256/256"]
        openai_server.fault_scenario = None
        assert any(b"upgrade: searches use openai/tiny-embedding/64 now" in line for line in process.stderr)
        assert search_paths(address, "oak tree")[:1] == ["trees.md"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    (folder / "late.md").write_text("# Late\n\nThe hedgehog came later than all the others.\n")
    assert last_json(run("sync", "--json"))["chunks"]["embedded"] == 1
    status = last_json(run("status", "--json"))
    assert status["upgrade"]["state"] == "taken"
    assert {row["space"]: (row["state"], row["vectors"]) for row in status["generations"]} == {
        "openai/tiny-embedding/64": ("active", 3),
        "local/wordllama-256/256": ("retired", 2),
    }
    assert "upgrade to openai/tiny-embedding/64: taken, 3 of 3 chunks" in run("status").stdout


@pytest.mark.long
def test_up_that_is_killed_takes_its_upgrade_along_and_goes_on_with_it(
    environment: dict[str, str], run: Run, folder: Path, openai_server: FakeOpenAI
) -> None:
    environment |= {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": openai_server.url,
        "PGFOLIO_UPGRADE__MODEL": "tiny-embedding",
        "PGFOLIO_UPGRADE__NICENESS": "0",
        "PGFOLIO_EMBEDDING__BATCH_INPUTS": "2",
        "PGFOLIO_EMBEDDING__IN_FLIGHT": "1",
    }
    for n in range(40):
        (folder / f"{n}.md").write_text(f"# Page {n}\n\nThis page tells of the river and of number {n}.\n")
    openai_server.fault_scenario = FaultScenario(delay=0.2, only="embeddings")
    arguments = ("up", str(folder), "--port", str(free_port()), "--every", "0")
    with started(environment, *arguments) as process:
        wait_until(lambda: len(openai_server.answered) > 10, 60)
        children = psutil.Process(process.pid).children()
        assert any("pgfolio.flows.upgrade" in child.cmdline() for child in children)
        process.kill()
        assert psutil.wait_procs(children, 20)[1] == []
    assert last_json(run("status", "--json"))["upgrade"]["state"] == "stopped"
    openai_server.fault_scenario = None
    with started(environment, *arguments) as process:
        assert process.stderr is not None
        assert any(b"upgrade: searches use openai/tiny-embedding/64 now" in line for line in process.stderr)
    paid = [text for text in openai_server.answered if text != "dimensions"]
    assert len(paid) - len(set(paid)) <= 2


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["--model", "text-embedding-3-small"], {}, "OPENAI_API_KEY is not set"),
        ([], {"PGFOLIO_UPGRADE__MODEL": "./minilm"}, "there is no folder './minilm'"),
    ],
)
def test_a_better_model_that_cannot_be_used_is_said_before_anything_starts(
    run: Run, folder: Path, arguments: list[str], variables: dict[str, str], message: str
) -> None:
    done = run("up", str(folder), *arguments, **variables)
    assert (done.returncode, message in error_line(done)) == (2, True), done.stderr
    assert "The API answers" not in done.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
def test_up_takes_new_files_on_its_schedule_as_prefect_runs(
    environment: dict[str, str], run: Run, folder: Path
) -> None:
    port = free_port()
    with started(environment, "up", str(folder), "--port", str(port), "--every", "5s") as process:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: "bread.md" in search_paths(address, "sourdough bread"), 60)
        (folder / "late.md").write_text("# Late\n\nThe hedgehog came later than all the others.\n")
        wait_until(lambda: search_paths(address, "hedgehog")[:1] == ["late.md"], 100)
        pushed = httpx.post(
            f"{address}/documents?wait=50", json={"title": "Tides", "content": "x"}, timeout=60
        )
        assert pushed.status_code == 201
        started_by = {row["started_by"] for row in last_json(run("status", "--json"))["runs"]}
        assert started_by >= {"up", "prefect sync all sources"}
        assert started_by <= {"up", "prefect sync all sources", "prefect sync pushed"}
        check_its_prefect_server(Path(environment["PGFOLIO_HOME"]), address, folder.parent / "secret")
        for child in psutil.Process(process.pid).children():
            if "pgfolio.flows.schedule" in child.cmdline():
                for part in (child, *child.children(recursive=True)):
                    part.kill()
        (folder / "later.md").write_text("# Later\n\nThe badger came after the schedule was killed.\n")
        wait_until(lambda: search_paths(address, "badger")[:1] == ["later.md"], 100)


def check_its_prefect_server(home: Path, address: str, secret: Path) -> None:
    """Nobody without the password starts a run; and nobody at all one of a folder that was not added. Another user of
    the machine, or a page in somebody's browser, had a folder indexed that only root may read."""
    secret.mkdir(mode=0o700)
    (secret / "codes.md").write_text("# Codes\n\nThe launch code is heliotrope.\n")
    state = home / "prefect.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    known = json.loads(state.read_text())
    name, _, password = known["auth"].partition(":")
    assert len(password) >= 32
    attack = {"parameters": {"sources": [str(secret)], "approve_deletes": 1000}}
    page = {"Origin": "https://evil.example", "Host": "evil.example"}
    base = known["url"].removesuffix("/api")
    with httpx.Client(base_url=base, timeout=20) as prefect:
        for headers in ({}, page, {"Authorization": "Basic cGdmb2xpbzpwZ2ZvbGlv"}):
            assert prefect.post("/api/deployments/filter", json={}, headers=headers).status_code == 401
            assert prefect.get("/api/admin/version", headers=headers).status_code == 401
        asked = {**page, "Access-Control-Request-Method": "POST"}
        preflight = prefect.options("/api/deployments/filter", headers=asked)
        assert "evil" not in preflight.headers.get("access-control-allow-origin", "")
        assert preflight.headers.get("access-control-allow-origin") != "*"
        assert prefect.get("/ui-settings").json()["api_url"] == known["url"]
        prefect.auth = (name, password)
        [deployment] = prefect.post("/api/deployments/filter", json={}).json()
        start = f"/api/deployments/{deployment['id']}/create_flow_run"
        too_many = {"parameters": {"approve_deletes": 1_000_000}}
        assert prefect.post(start, json=too_many).status_code in {409, 422}
        run = prefect.post(start, json=attack).json()
        ended = {"COMPLETED", "FAILED", "CRASHED"}

        def state_of() -> dict[str, Any]:
            found: dict[str, Any] = prefect.get(f"/api/flow_runs/{run['id']}").json()["state"]
            return found

        wait_until(lambda: state_of()["type"] in ended, 60)
        assert state_of()["type"] == "FAILED"
        assert "no known source" in state_of()["message"]
    assert "codes.md" not in search_paths(address, "launch code heliotrope")


@pytest.mark.long
def test_up_goes_on_answering_without_a_schedule(environment: dict[str, str], folder: Path) -> None:
    port = free_port()
    unreachable = {**environment, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    with started(unreachable, "up", str(folder), "--port", str(port)) as process:
        assert process.stderr is not None
        assert any(b"it is started again in" in line for line in process.stderr)
        assert search_paths(f"http://127.0.0.1:{port}", "oak tree")[:1] == ["trees.md"]


def test_serve_answers_until_it_is_terminated(environment: dict[str, str], run: Run, folder: Path) -> None:
    run("sync", str(folder))
    port = free_port()
    with started(environment, "serve", "--port", str(port)) as process:
        wait_until(lambda: search_paths(f"http://127.0.0.1:{port}", "bread")[:1] == ["bread.md"])
        process.terminate()
        process.wait(20)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health/live")


@pytest.mark.skipif(shutil.which("tesseract") is not None, reason="Tesseract is installed")
def test_an_image_without_tesseract_says_what_to_install(run: Run, folder: Path) -> None:
    (folder / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    done = run("sync", str(folder), "--json")
    assert done.returncode == 0
    assert "scan.png is skipped: image: needs OCR" in last_json(done)["notes"][0]


@contextlib.contextmanager
def started(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", *arguments], env=environment, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def search_paths(address: str, query: str) -> list[str]:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.post(f"{address}/search", json={"query": query})
        if answer.status_code == 200:
            return [result["path"] for result in answer.json()["results"]]
    return []


def documents(conninfo: str) -> int:
    with connect(conninfo) as connection:
        row = connection.execute("select count(*) from documents").fetchone()
    return int(row[0]) if row else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
