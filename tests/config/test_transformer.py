"""A transformer in the process is used as its own files say, and says in a sentence what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.config import models
from pgfolio.config.errors import ConfigError
from pgfolio.config.models import encoder
from pgfolio.config.models.model_card import read_card
from pgfolio.config.models.model_files import locate
from pgfolio.config.models.transformer import OtherWeightsError, pooled, transformer_model, transformer_space
from tests.fakes import tiny_transformers as tiny
from tests.test_architecture import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.models.model_card import ModelCard
    from pgfolio.config.models.transformer import TransformerModel
    from pgfolio.config.settings import Settings

SETTING = "PGFOLIO_EMBEDDING__MODEL"
TEXTS = ["the whale", "", "volcano glacier lantern and a violin of the whale", "q", "whale " * 300]


def pooling(mode: str) -> dict[str, Any]:
    return {"1_Pooling/config.json": {"pooling_mode_mean_tokens": False, f"pooling_mode_{mode}": True}}


def opened(folder: Path) -> TransformerModel:
    return transformer_model(*transformer_space(str(folder)))


def card(folder: Path, **files: Any) -> ModelCard:
    named = {f"{name}.json": content for name, content in files.items()}
    tiny.embedding_folder(folder, files=named)
    return read_card(locate(str(folder), SETTING), SETTING)


def by_hand(tokens: list[str], how: str) -> np.ndarray:
    """The vector of a text's tokens, by the arithmetic that the network was given."""
    table, weights = tiny.vocabulary_table()
    of_tokens = np.tanh(table[tiny.token_ids(*tokens)] @ weights)
    made = {
        "mean": of_tokens.mean(axis=0),
        "max": of_tokens.max(axis=0),
        "cls": of_tokens[0],
        "lasttoken": of_tokens[-1],
    }
    vector: np.ndarray = made[how] / np.linalg.norm(made[how])
    return vector


@pytest.mark.parametrize(
    ("files", "how"),
    [
        ({}, "mean"),
        (pooling("cls_token"), "cls"),
        (pooling("max_tokens"), "max"),
        (pooling("lasttoken"), "lasttoken"),
        ({"1_Pooling/config.json": {"pooling_mode": "cls"}}, "cls"),
        (
            {
                "modules.json": [{"type": "a.models.Transformer", "path": ""}, {"type": "a.Pooling", "path": "p"}],
                "p/config.json": {"pooling_mode_cls_token": True},
                **pooling("max_tokens"),
            },
            "cls",
        ),
    ],
)  # fmt: skip
def test_vectors_are_pooled_as_the_files_say(tmp_path: Path, files: dict[str, Any], how: str) -> None:
    model = opened(tiny.embedding_folder(tmp_path, files=files))
    vectors = model.embed(["violin of the whale and the", "the whale"]).vectors
    assert np.allclose(vectors[1], by_hand(["[CLS]", "the", "whale", "[SEP]"], how), atol=1e-5)


def test_a_network_that_pools_by_itself_is_left_to_it(tmp_path: Path) -> None:
    model = opened(tiny.sentence_folder(tmp_path, files={"modules.json": [{"type": "a.Dense", "path": "d"}]}))
    table = np.random.default_rng(3).normal(size=(len(tiny.VOCABULARY), 8))
    summed = table[tiny.token_ids("[CLS]", "whale", "[SEP]")].sum(axis=0)
    assert np.allclose(model.embed(["whale"]).vectors[0], summed / np.linalg.norm(summed), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_text_has_the_same_vector_whatever_stands_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any
) -> None:
    model = opened(tiny.embedding_folder(tmp_path, dtype=dtype))
    alone = np.vstack([model.embed([text]).vectors for text in TEXTS])
    for tokens in (1, 7, 64, 100_000):
        monkeypatch.setattr(encoder, "BATCH_TOKENS", tokens)
        assert np.allclose(model.embed(TEXTS).vectors, alone, atol=1e-3 if dtype == np.float16 else 1e-6)
    assert np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
    assert model.embed([]).vectors.shape == (0, 16)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_padding_has_no_part_in_any_pooling(lengths: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.normal(size=(len(lengths), 9, 4)).astype(np.float32)
    mask = np.array([[int(place < length) for place in range(9)] for length in lengths])
    other = np.where(mask[:, :, np.newaxis] > 0, tokens, random.normal(size=tokens.shape) * 100)
    for how in ("mean", "max", "cls", "lasttoken"):
        assert np.allclose(pooled(tokens, mask, how), pooled(other, mask, how), atol=1e-4)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 512),
        ({"sentence_bert_config": {"max_seq_length": 128}, "tokenizer_config": {"model_max_length": 64}}, 128),
        ({"tokenizer_config": {"model_max_length": 512}, "config": {"max_position_embeddings": 514}}, 512),
        ({"tokenizer_config": {"model_max_length": 1e30}, "config": {"max_position_embeddings": 77}}, 77),
        ({"sentence_bert_config": {"max_seq_length": None}, "tokenizer_config": {"model_max_length": 8192}}, 8192),
        ({"tokenizer_config": {"model_max_length": "many"}, "config": [1]}, 512),
    ],
)  # fmt: skip
def test_a_model_reads_as_much_as_its_files_say(tmp_path: Path, files: dict[str, Any], expected: int) -> None:
    assert card(tmp_path, **files).max_tokens == expected


def test_what_is_beyond_is_left_out_and_not_counted(tmp_path: Path) -> None:
    model = opened(
        tiny.embedding_folder(tmp_path, files={"sentence_bert_config.json": {"max_seq_length": 4}})
    )
    long = model.embed(["the whale and the violin"])
    assert long.tokens == 4
    assert np.allclose(long.vectors, model.embed(["the whale"]).vectors)


def test_a_text_is_made_lower_case_where_the_files_say_so(tmp_path: Path) -> None:
    model = opened(
        tiny.embedding_folder(tmp_path, files={"sentence_bert_config.json": {"do_lower_case": True}})
    )
    assert np.allclose(*model.embed(["WHALE", "whale"]).vectors)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, ("query: ", "passage: ")),
        ({"prompts": {"query": "q ", "document": "d ", "passage": "p "}}, ("q ", "d ")),
        ({"prompts": {"s2p": "about: "}, "default_prompt_name": "s2p"}, ("about: ", "about: ")),
        ({"prompts": None}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_prefixes_are_those_of_the_files(tmp_path: Path, described: Any, expected: tuple[str, str]) -> None:
    made = card(tmp_path, config_sentence_transformers=described)
    assert (made.query_prefix, made.document_prefix) == expected


def test_other_weights_have_another_name(tmp_path: Path) -> None:
    versions = {
        card(tmp_path / "one").version,
        card(tmp_path / "length", sentence_bert_config={"max_seq_length": 9}).version,
        *(
            read_card(locate(str(folder), SETTING), SETTING).version
            for folder in (
                tiny.embedding_folder(tmp_path / "two", seed=2),
                tiny.embedding_folder(tmp_path / "half", dtype=np.float16),
                tiny.embedding_folder(tmp_path / "cls", files=pooling("cls_token")),
            )
        ),
    }
    assert (len(versions), {version.split("-")[0] for version in versions}) == (5, {"fp32", "fp16"})
    assert card(tmp_path / "again").version in versions


def test_stored_vectors_are_not_compared_with_those_of_other_weights(tmp_path: Path) -> None:
    folder = tiny.embedding_folder(tmp_path / "m")
    name, width = transformer_space(str(folder))
    tiny.embedding_folder(folder, seed=2)
    with pytest.raises(OtherWeightsError, match=r"has other weights .* run `pgfolio reembed`"):
        transformer_model(name, width)


def test_a_folder_that_was_moved_is_taken_from_the_settings(tmp_path: Path) -> None:
    name, width = transformer_space(str(tiny.embedding_folder(tmp_path / "m")))
    (tmp_path / "m").rename(tmp_path / "moved")
    assert transformer_model(name, width, str(tmp_path / "moved")).dimensions == width
    with pytest.raises(ConfigError, match="there is no folder"):
        transformer_model(name, width)


@pytest.mark.parametrize("at", ["model.onnx", "onnx/model.onnx", "onnx/model_int8.onnx"])
def test_weights_are_looked_for_where_they_usually_are(tmp_path: Path, at: str) -> None:
    folder = tiny.embedding_folder(tmp_path, onnx=at)
    for name in (folder, folder / at, (folder / at).parent):
        assert transformer_space(str(name))[1] == 16


def test_one_of_several_is_to_be_named(tmp_path: Path) -> None:
    for at in ("onnx/model_a.onnx", "onnx/model_b.onnx"):
        tiny.embedding_folder(tmp_path, onnx=at)
    with pytest.raises(ConfigError, match=r"onnx/model_a.onnx, onnx/model_b.onnx: name one"):
        transformer_space(str(tmp_path))
    assert transformer_space(str(tmp_path / "onnx/model_b.onnx"))[1] == 16


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "has no model.onnx and no tokenizer.json"),
        (("model.onnx",), "has no tokenizer.json"),
        (("tokenizer.json",), "has no model.onnx;"),
        (("model.onnx", "tokenizer.json"), "cannot be loaded"),
    ],
)
def test_a_folder_says_what_it_lacks(tmp_path: Path, there: tuple[str, ...], said: str) -> None:
    for name in there:
        (tmp_path / name).write_text("no model")
    with pytest.raises(ConfigError, match=said) as caught:
        transformer_space(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert SETTING in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (pooling("weightedmean_tokens"), "pools by weightedmean_tokens"),
        ({"modules.json": [{"type": "a.Pooling"}, {"type": "a.Dense", "path": "2"}]}, "goes on with Dense"),
        ({"1_Pooling/config.json": {"pooling_mode_cls": True, "pooling_mode_mean_tokens": True}}, "cls and mean_"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(tmp_path: Path, files: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        transformer_space(str(tiny.embedding_folder(tmp_path, files=files)))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{broken")
    tiny.embedding_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"config.json cannot be read"):
        transformer_space(str(tmp_path))


def test_fewer_dimensions_are_the_first_ones(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    folder = str(tiny.embedding_folder(tmp_path))
    assert models.configured_space(new_settings(embedding={"model": folder, "dimensions": 4}))[2] == 4
    with pytest.raises(ConfigError, match=r"PGFOLIO_EMBEDDING__DIMENSIONS: .* has 16, not 17"):
        models.configured_space(new_settings(embedding={"model": folder, "dimensions": 17}))


def test_a_folder_is_a_transformer_and_a_name_that_of_a_server(
    tmp_path: Path, new_settings: Callable[..., Settings]
) -> None:
    folder = str(tiny.embedding_folder(tmp_path))
    provider, name, width, shortened = models.configured_space(new_settings(embedding={"model": folder}))
    assert (provider, name.rpartition("@")[0], width, shortened) == ("transformers", folder, 16, False)
    on_server = {"model": folder, "base_url": "http://127.0.0.1:9/v1", "api_key": "x", "dimensions": 16}
    assert models.configured_space(new_settings(embedding=on_server))[0] == "openai"
    with pytest.raises(ConfigError, match="name a transformer"):
        models.configured_space(new_settings(embedding={"provider": "transformers"}))


def test_the_extra_is_named_where_it_is_not_installed(tmp_path: Path) -> None:
    tiny.embedding_folder(tmp_path)
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from pgfolio.config.models.transformer import transformer_space\n"
        f"transformer_space({str(tmp_path)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pip install 'pgfolio[transformers]'" in done.stderr.splitlines()[-1]


def test_threads_are_as_many_as_a_process_may_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert encoder.allowed_threads() == 3
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert encoder.allowed_threads() == len(os.sched_getaffinity(0))
