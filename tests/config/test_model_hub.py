"""A model is fetched from the hub once, and a hub that cannot be reached is a sentence."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from pgfolio.config.environment import child_environment
from tests.fakes import tiny_transformers as tiny
from tests.fakes.model_hub import ModelHub
from tests.test_architecture import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from pgfolio.config.errors import ConfigError
from pgfolio.config.models.transformer import transformer_model, transformer_space
for name in sys.argv[1:]:
    try:
        model, width = transformer_space(name)
        print(model.rpartition("@")[0], width, transformer_model(model, width).embed(["whale"]).vectors.shape)
    except ConfigError as error:
        print(error)
"""


def answers(url: str, cache: Path, *names: str) -> list[str]:
    """In a process of its own: the hub's library reads its address once."""
    environment = child_environment(HF_ENDPOINT=url, HF_HOME=str(cache), HF_HUB_DISABLE_XET="1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_model_is_fetched_once_and_then_needs_no_hub(tmp_path: Path) -> None:
    folder = tiny.embedding_folder(tmp_path / "m", onnx="onnx/model.onnx")
    tiny.embedding_folder(tmp_path / "m", onnx="onnx/model_half.onnx", seed=2)
    (folder / "model.safetensors").write_text("not needed here")
    expected = ["lab/tiny 16 (1, 16)", "lab/tiny/onnx/model_half.onnx 16 (1, 16)"]
    with ModelHub("lab/tiny", folder) as hub:
        fetched = answers(
            hub.url, tmp_path / "cache", "lab/tiny", "lab/tiny/onnx/model_half.onnx", "lab/other"
        )
        assert not any("safetensors" in path for path in hub.requests)
    assert fetched[:2] == expected
    assert "the model hub has no 'lab/other'" in fetched[2]
    assert (
        answers("http://127.0.0.1:9", tmp_path / "cache", *(line.split()[0] for line in expected)) == expected
    )


def test_a_hub_that_cannot_be_reached_and_a_model_that_is_none_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("# weights elsewhere")
    with ModelHub("lab/text", tmp_path / "m") as hub:
        (none,) = answers(hub.url, tmp_path / "cache", "lab/text")
    assert none == (
        "PGFOLIO_EMBEDDING__MODEL: 'lab/text' has no model.onnx on the model hub, so that it cannot be run here"
    )
    away = answers("http://127.0.0.1:9", tmp_path / "empty", "lab/tiny", "minilm", "/no/such/folder")
    assert [line.split(": ")[1].split(",")[0] for line in away] == [
        "'lab/tiny' is no folder here",
        "'sentence-transformers/minilm' is no folder here",
        "there is no folder '/no/such/folder'",
    ]
    assert all("name a folder with model.onnx and tokenizer.json" in line for line in away[:2])
