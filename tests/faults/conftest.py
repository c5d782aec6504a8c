"""What an undisturbed sync stores: held against what is there after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import KEY, FakeOpenAI
from tests.faults.world import Tree, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings


@pytest.fixture
def undisturbed(
    tree: Tree,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Callable[[], list[tuple[object, ...]]]:
    """What a sync of the tree as it is now stores in a new database."""

    def synced() -> list[tuple[object, ...]]:
        with FakeOpenAI() as server, new_database() as conninfo:
            settings = new_settings(
                database_url=conninfo,
                openai_api_key=KEY,
                openai_base_url=server.url,
                embedding={"provider": "openai", "model": "tiny-embedding"},
            )
            with connect(conninfo) as connection:
                source = sources.ensure_source(connection, str(tree.root), name="tree")
            run_sync(settings, conninfo, [source], Options())
            return stored(conninfo)

    return synced
