"""One stocked library with its API for the tests that only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.openai_server import KEY
from tests.query_api.library import running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI


@pytest.fixture(scope="session")
def library(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[str]:
    """A database with the library's documents, in the local space. Not to be changed."""
    with new_database() as conninfo:
        stock(conninfo, new_settings())
        yield conninfo


@pytest.fixture(scope="session")
def api(library: str, new_settings: Callable[..., Settings]) -> Iterator[httpx.Client]:
    """A client of the API that serves the library, with the shipped settings."""
    with running_api(new_settings(database_url=library), library) as client:
        yield client


@pytest.fixture
def chat_api(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> Iterator[httpx.Client]:
    """The library with the chat model of the loopback server."""
    settings = new_settings(
        openai_api_key=KEY, openai_base_url=openai_server.url, chat={"model": "gpt-4o-mini", "timeout": 5}
    )
    with running_api(settings, library) as client:
        yield client
