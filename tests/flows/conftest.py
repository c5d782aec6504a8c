"""A small library for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.library import ANIMALS, PLANTS, Library

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.config.settings import Settings


@pytest.fixture
def library(tmp_path: Path, conninfo: str, settings: Settings) -> Library:
    root = tmp_path / "library"
    root.mkdir()
    made = Library(root, conninfo, settings)
    made.write("animals.md", ANIMALS)
    made.write("garden/plants.md", PLANTS)
    return made
