"""A small library for each test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.flows.library import small_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from tests.flows.library import Library


@pytest.fixture
def library(tmp_path: Path, conninfo: str, settings: Settings) -> Library:
    return small_library(tmp_path, conninfo, settings)


@pytest.fixture
def environment(tmp_path: Path, conninfo: str) -> dict[str, str]:
    """A user's environment: an empty home, the test's database."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "PGFOLIO_HOME": str(tmp_path / "state"),
        "PGFOLIO_DATABASE_URL": conninfo,
        "COLUMNS": "200",
    }


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The scheduler's address of a Dask cluster on loopback, whose workers are processes that are started again when
    they end."""
    import dask
    from distributed import LocalCluster

    start: Any = LocalCluster
    settings = {
        "distributed.scheduler.allowed-failures": 1,  # instead of three
        "distributed.deploy.lost-worker-timeout": "600s",  # one that is not there then is given up for ever
    }
    soon = dask.config.set(settings)
    with soon, start(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as made:
        yield made.scheduler_address
