"""One bundled Postgres for the whole run, a migrated template in it, and a database of its own for each test."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.environment import without_settings

without_settings()  # also kept from the processes that tests start

from pgfolio.config.loading import load_settings  # noqa: E402
from pgfolio.schema.database.bundled import bundled_postgres  # noqa: E402
from pgfolio.schema.database.connect import prepare  # noqa: E402
from tests.fakes.openai_server import FakeOpenAI  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings

LONG = "--long"
MODELS = "--models"
TEMPLATE = "pgfolio_template"
IN_MEMORY = "/dev/shm"
IN_MEMORY_BYTES = 6 << 30
NUMBERS = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(LONG, action="store_true", help="all tests, and kills and examples in full number")
    parser.addoption(MODELS, action="store_true", help="only tests with the weights of real models")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the options what is marked long, or with the weights of real models, is left out."""
    if config.getoption(MODELS):
        left_out = [item for item in items if not item.get_closest_marker("models")]
    else:
        markers = ("models",) if config.getoption(LONG) else ("models", "long")
        left_out = [item for item in items if any(item.get_closest_marker(name) for name in markers)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether kills and examples are wanted in full number, of which each run has a part."""
    return bool(request.config.getoption(LONG))


@pytest.fixture(scope="session")
def home() -> Path:
    """A PGFOLIO_HOME. Not pytest's own temporary folder: as root, Postgres runs under a system user that must be
    able to walk there."""
    folder = Path(tempfile.mkdtemp(prefix="pgfolio-test-", dir=_in_memory()))
    folder.chmod(0o755)
    atexit.register(
        shutil.rmtree, folder, ignore_errors=True
    )  # after Postgres's own farewell, which writes there
    return folder


def _in_memory() -> str | None:
    """A test's database is 400 files, which are made there in a tenth of the time."""
    large = os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > IN_MEMORY_BYTES
    return IN_MEMORY if large else None


@pytest.fixture(scope="session")
def postgres(home: Path) -> Iterator[str]:
    """The connection string of the server's own database, with the template ready. What a test writes need not
    outlive a power cut."""
    memory = load_settings(
        home=home, postgres={"shared_buffers_mb": 128, "maintenance_work_mem_mb": 64}
    ).postgres
    with bundled_postgres(home, memory) as uri:
        with psycopg.connect(uri, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
            connection.execute("alter system set max_wal_size = '256MB'")
            connection.execute("select pg_reload_conf()")
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
        prepare(make_conninfo(uri, dbname=TEMPLATE))
        yield uri


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Makes migrated, empty databases; each is dropped on leaving."""

    @contextmanager
    def made() -> Iterator[str]:
        name = sql.Identifier(f"test_{next(NUMBERS)}")
        copied = sql.SQL("create database {} template {} strategy file_copy")
        connection.execute(copied.format(name, sql.Identifier(TEMPLATE)))
        try:
            yield make_conninfo(postgres, dbname=name.as_string().strip('"'))
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))

    with psycopg.connect(postgres, autocommit=True) as connection:
        yield made


@pytest.fixture
def conninfo(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A migrated database of the test's own."""
    with new_database() as made:
        yield made


@pytest.fixture(scope="session")
def new_settings(home: Path) -> Callable[..., Settings]:
    """Settings of the shipped defaults with what a test overrides, as in `new_settings(chat={"model": "x"})`."""

    def made(**overrides: Any) -> Settings:
        return load_settings(**{"home": home, **overrides})

    return made


@pytest.fixture
def settings(new_settings: Callable[..., Settings], conninfo: str) -> Settings:
    """The shipped defaults, on the test's own database."""
    return new_settings(database_url=conninfo)


@pytest.fixture
def openai_server() -> Iterator[FakeOpenAI]:
    """A server that speaks the OpenAI API, on loopback."""
    with FakeOpenAI() as fake:
        yield fake
