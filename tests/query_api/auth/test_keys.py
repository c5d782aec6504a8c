"""`pgfolio keys`, and what follows from there being keys or none: where the API listens, when a key counts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import api_keys
from tests import programs
from tests.query_api.library import make_key, stock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def environment(conninfo: str, **values: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / ".src"), "PGFOLIO_DATABASE_URL": conninfo, **values}


def pgfolio(conninfo: str, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    return programs.pgfolio(*arguments, environment=environment(conninfo, **values))


def made(conninfo: str, *arguments: str) -> dict[str, Any]:
    done = pgfolio(conninfo, "keys", "add", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    output: dict[str, Any] = json.loads(done.stdout)
    return output


@contextmanager
def served(conninfo: str, *arguments: str, **values: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pgfolio serve` on a free port as a process, with its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pgfolio.flows", "serve", "--port", str(port), *arguments]
    with subprocess.Popen(
        command, env=environment(conninfo, **values), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            while not (line := process.stderr.readline()).startswith("listening on "):
                assert line
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_a_key_is_printed_once_and_only_its_hash_is_stored(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = made(
        conninfo, "--name", "laptop", "--scope", "write", "--collection", "kitchen", "--expires", "90d"
    )
    assert key["key"].startswith(api_keys.PREFIX)
    assert len(key["key"]) >= len(api_keys.PREFIX) + 43
    with connect(conninfo) as connection:
        (stored_key,) = connection.execute("select api_keys::text, hash from api_keys").fetchall()
        tables = connection.execute(
            "select string_agg(format('select %L, t::text from %I t', relname, relname), ' union all ') "
            "from pg_stat_user_tables where schemaname = 'public'"
        ).fetchone()
        assert tables is not None
        everything = connection.execute(tables[0]).fetchall()
    assert stored_key[1] == api_keys.hashed(key["key"])
    assert [name for name, text in everything if key["key"] in text] == []
    listing = pgfolio(conninfo, "keys", "list")
    assert key["key"][:10] in listing.stdout
    assert key["key"] not in listing.stdout + listing.stderr
    (listed,) = json.loads(pgfolio(conninfo, "keys", "list", "--json").stdout)["keys"]
    expected = {"id": 1, "name": "laptop", "scope": "write", "collections": ["kitchen"], "last_used_at": None,
              "revoked_at": None, "prefix": key["key"][:10]}  # fmt: skip
    assert {name: listed[name] for name in expected} == expected
    assert listed["created_at"] < listed["expires_at"]


def test_add_prints_the_key_alone_on_stdout(conninfo: str) -> None:
    done = pgfolio(conninfo, "keys", "add", "--name", "script")
    assert done.stdout.startswith(api_keys.PREFIX)
    assert done.stdout.count("\n") == 1
    assert "never again" in done.stderr


@pytest.mark.parametrize("which", ["1", "laptop"])
def test_a_key_is_revoked_by_its_id_or_name_and_the_name_is_free_again(conninfo: str, which: str) -> None:
    made(conninfo, "--name", "laptop")
    assert pgfolio(conninfo, "keys", "revoke", which).returncode == 0
    again = pgfolio(conninfo, "keys", "revoke", which)
    assert (again.returncode, "no key" in again.stderr) == (2, True)
    assert made(conninfo, "--name", "laptop")["id"] == 2
    first, second = json.loads(pgfolio(conninfo, "keys", "list", "--json").stdout)["keys"]
    assert first["revoked_at"]
    assert not second["revoked_at"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "--scope", "root"], "--scope"),
        (["add", "--collection", "atlantis"], "'atlantis'"),
        (["add", "--expires", "2020-01-01"], "past"),
        (["add", "--expires", "soon"], "soon"),
        (["add", "--name", "17"], "number"),
        (["add", "--name", "a\nb"], "printable"),
        (["add", "--name", "taken"], "already"),
        (["revoke", "nobody"], "keys list"),
    ],
)
def test_wrong_usage_is_one_clear_line(conninfo: str, arguments: list[str], said: str) -> None:
    with connect(conninfo) as connection:
        api_keys.add(connection, "taken", "read")
    done = pgfolio(conninfo, "keys", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "up"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
def test_without_a_key_nothing_listens_beyond_this_machine(
    settings: Settings, conninfo: str, home: Path, command: str, host: str
) -> None:
    key = make_key(conninfo, "admin")
    with connect(conninfo) as connection:
        api_keys.revoke(connection, "1")
    done = pgfolio(conninfo, command, "--host", host, "--port", "0", PGFOLIO_HOME=str(home))
    if host == "192.0.2.1" and command == "serve":
        assert done.returncode == 1  # this machine has no such address
        return
    assert done.returncode == 2
    assert "pgfolio keys add" in done.stderr
    assert key not in done.stderr


def test_with_a_key_every_address_is_served_and_asks_for_it(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo)
    with served(conninfo, "--host", "0.0.0.0") as (_, url):  # noqa: S104
        assert httpx.get(f"{url}/documents").status_code == 401
        answer = httpx.get(f"{url}/documents", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        with connect(conninfo) as connection:
            connection.execute("delete from api_keys")  # not even then is it open
        time.sleep(1)
        assert httpx.get(f"{url}/documents").status_code == 401


def test_a_revoked_key_opens_nothing_in_any_worker_after_a_second(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key, other = make_key(conninfo), make_key(conninfo)
    headers = {"X-API-Key": key}

    def status_of(url: str, headers: dict[str, str]) -> int:
        """Over a connection of its own, so by any worker; one that still starts on a busy machine takes its time."""
        return httpx.get(f"{url}/documents", headers=headers, timeout=60).status_code

    with served(conninfo, "--workers", "2") as (_, url):
        assert {status_of(url, headers) for _ in range(20)} == {200}
        began = time.monotonic()
        assert pgfolio(conninfo, "keys", "revoke", "1").returncode == 0
        revoked = time.monotonic()
        last = began
        while time.monotonic() < revoked + 2.0:
            if status_of(url, headers) == 200:
                last = time.monotonic()
        assert last < revoked + 1.0
        assert status_of(url, {"X-API-Key": other}) == 200


@pytest.mark.long
def test_when_a_key_was_last_used_is_known(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo)
    with served(conninfo) as (_, url):
        httpx.get(f"{url}/documents", headers={"X-API-Key": key})
        time.sleep(1.2)
    (listed,) = json.loads(pgfolio(conninfo, "keys", "list", "--json").stdout)["keys"]
    assert listed["last_used_at"]
