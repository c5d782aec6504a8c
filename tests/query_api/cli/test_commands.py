"""`python -m pgfolio.query_api` as a user starts it: output, exit codes, a server that comes and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import programs
from tests.query_api.library import LOCAL, PAGES, RETRIES, UNTITLED, Page, stock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
EVIL = "evil\x1b]0;pwned\x07\u202e"
HOSTILE = Page(
    f"{EVIL}.md", EVIL, {EVIL: "Seven gnomes live \x1b]52;c;cHduZWQ=\x07 in the garden\x9b2J by the pond."}
)
"""Sets the title of a terminal, its clipboard, and clears it."""


def environment(**values: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / ".src"), **values}


def run(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    return programs.query_api(*arguments, environment=environment(**values))


@pytest.fixture
def serving(library: str) -> Iterator[subprocess.Popen[str]]:
    """`serve` on a free port, as a process."""
    command = [sys.executable, "-m", "pgfolio.query_api", "serve", "--port", "0"]
    process = subprocess.Popen(
        command, env=environment(PGFOLIO_DATABASE_URL=library), stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("listening on http://127.0.0.1:"), line
    return line.split()[2].rstrip(",")


def test_search_shows_titles_and_paths(library: str) -> None:
    done = run("search", "how do I retry a failed task", "--limit", "2", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index(str(RETRIES.title)) < done.stdout.index(RETRIES.path)
    assert LOCAL.name in done.stdout


def test_search_json_is_what_the_api_answers(library: str, api: httpx.Client) -> None:
    arguments = ("cache key", "--limit", "3", "--mode", "vector", "--collection", "manual", "--json")
    done = run("search", *arguments, PGFOLIO_DATABASE_URL=library)
    body = {"query": "cache key", "limit": 3, "mode": "vector", "collections": ["manual"]}
    assert json.loads(done.stdout)["results"] == api.post("/search", json=body).json()["results"]
    assert json.loads(done.stdout)["results"][0]["path"] == UNTITLED.path


def test_ask_json_is_what_the_api_answers(library: str, api: httpx.Client) -> None:
    done = run("ask", "how is a failed task retried", "--json", PGFOLIO_DATABASE_URL=library)
    answer, expected = (
        json.loads(done.stdout),
        api.post("/ask", json={"question": "how is a failed task retried"}).json(),
    )
    for citation in expected["citations"]:
        citation["url"] = None  # the terminal has no page
    assert {k: answer[k] for k in ("answer", "citations", "sources")} == {
        k: expected[k] for k in ("answer", "citations", "sources")
    }


def test_ask_shows_the_quote_and_where_it_stands(library: str) -> None:
    done = run("ask", "how is a failed task retried", PGFOLIO_DATABASE_URL=library)
    assert "A failed task is retried when you set" in done.stdout
    assert f"[1] {RETRIES.path}" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["search"], ["search", "--explain", "--why", HOSTILE.path], ["ask"]], ids=" ".join
)
def test_escape_sequences_in_documents_do_not_reach_the_terminal(
    conninfo: str, settings: Settings, arguments: list[str]
) -> None:
    stock(conninfo, settings, (*PAGES, HOSTILE))
    command, *options = arguments
    done = run(command, "how many gnomes live in the garden", *options, PGFOLIO_DATABASE_URL=conninfo)
    assert done.returncode == 0, done.stderr
    assert "gnomes live \ufffd]52;c;cHduZWQ=\ufffd" in done.stdout
    assert "evil\ufffd]0;pwned\ufffd\ufffd.md" in done.stdout
    assert [c for c in done.stdout + done.stderr if unicodedata.category(c) == "Cc" and c != "\n"] == []
    assert "\u202e" not in done.stdout


def test_a_question_that_names_nothing_shows_where_with_verbose(library: str) -> None:
    done = run("search", "x", "--collection", "nope", "--verbose", PGFOLIO_DATABASE_URL=library)
    assert done.returncode == 2
    output, message = done.stderr.rsplit("error:", 1)
    assert "UnknownCollectionError" in output
    assert "'nope'" in message


@pytest.mark.parametrize(
    ("arguments", "values", "code", "said"),
    [
        (["search"], {}, 2, "Missing argument"),
        (["search", "x", "--min-similarity", "nan"], {}, 2, "nan is not a number"),
        (["ask", "x", "--min-similarity", "NaN"], {}, 2, "nan is not a number"),
        (["eval", __file__, "--vector-weight", "nan"], {}, 2, "nan is not a number"),
        (["search", "  "], {}, 2, "1 to 4,000 characters"),
        (["search", "x", "--limit", "0"], {}, 2, "--limit"),
        (["search", "x", "--mode", "magic"], {}, 2, "--mode"),
        (["search", "x", "--collection", "atlantis"], {}, 2, "'atlantis'"),
        (["ask", "x", "--prompt", "poem"], {}, 2, "'poem'"),
        (["search", "x"], {"PGFOLIO_API__PORT": "many"}, 2, "PGFOLIO_API__PORT"),
        (
            ["serve"],
            {"PGFOLIO_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
            1,
            "cannot reach the database",
        ),
        (["ask", "x"], {"PGFOLIO_CHAT__MODEL": "gpt-4o-mini"}, 2, "OPENAI_API_KEY"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    library: str, arguments: list[str], values: dict[str, str], code: int, said: str
) -> None:
    done = run(*arguments, **{"PGFOLIO_DATABASE_URL": library, "PGFOLIO_API__PORT": "0", **values})
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line_and_exit_code_1(library: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port, PGFOLIO_DATABASE_URL=library)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port or "
        "PGFOLIO_API__PORT\n"
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_server_ends_well_and_silently(
    serving: subprocess.Popen[str], sent: signal.Signals
) -> None:
    url = url_of(serving)
    assert httpx.get(f"{url}/health/ready", timeout=10).status_code == 200
    serving.send_signal(sent)
    _, stderr = serving.communicate(timeout=15)
    assert (serving.returncode, stderr) == (0, "")


@pytest.mark.long
def test_several_workers_serve_one_port(library: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pgfolio.query_api", "serve", "--port", str(port), "--workers", "2"]
    values = {"PGFOLIO_DATABASE_URL": library, "PGFOLIO_API__LOG": "off"}
    process = subprocess.Popen(command, env=environment(**values), stderr=subprocess.PIPE, text=True)
    try:
        body: Any = {"query": "retry a failed task", "limit": 1}
        response = httpx.post(f"{url_of(process)}/search", json=body, timeout=30)
        assert response.json()["results"][0]["path"] == RETRIES.path
        time.sleep(0.5)
    finally:
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (0, "")


def test_a_question_that_the_terminal_garbled_is_wrong_usage(library: str) -> None:
    done = run("search", "a\udcffb", "--explain", "--json", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, done.stdout) == (2, "")
    assert "encoding" in done.stderr
