"""Folders with tiny transformers of chance weights, as sentence-transformers lays them out: written byte by byte
after the ONNX specification, so that nothing is fetched and no library is needed to write them."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SPECIAL: Final = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS: Final = [*string.ascii_letters, *string.digits, *string.punctuation]
WORDS: Final = [
    "volcano",
    "glacier",
    "whale",
    "lantern",
    "violin",
    "the",
    "and",
    "of",
    "query",
    "passage",
]
VOCABULARY: Final = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
FP32, FP16, INT64 = 1, 10, 7


def embedding_folder(
    folder: Path,
    *,
    seed: int = 1,
    width: int = 16,
    dtype: Any = np.float32,
    files: Mapping[str, Any] | None = None,
    onnx: str = "model.onnx",
) -> Path:
    """A network whose tokens' vectors are tanh(table[id] @ weights), and `files` of JSON beside it."""
    random = np.random.default_rng(seed)
    kind = FP16 if dtype == np.float16 else FP32
    table = random.normal(size=(len(VOCABULARY), width)).astype(dtype)
    weights = random.normal(size=(width, width)).astype(dtype)
    nodes = [
        _node("Gather", ["table", "input_ids"], ["looked_up"]),
        _node("MatMul", ["looked_up", "weights"], ["product"]),
        _node("Tanh", ["product"], ["last_hidden_state"]),
    ]
    graph = _graph(
        nodes,
        {"table": table, "weights": weights},
        {"input_ids": INT64, "attention_mask": INT64, "token_type_ids": INT64},
        {"last_hidden_state": (kind, ("batch", "sequence", width))},
    )
    return _written(folder, graph, onnx, files or {})


def sentence_folder(folder: Path, *, width: int = 8, files: Mapping[str, Any] | None = None) -> Path:
    """A network that pools by itself: the sum of its tokens' vectors."""
    table = np.random.default_rng(3).normal(size=(len(VOCABULARY), width)).astype(np.float32)
    nodes = [
        _node("Gather", ["table", "input_ids"], ["token_embeddings"]),
        _node("ReduceSum", ["token_embeddings", "axis"], ["sentence_embedding"], keepdims=0),
    ]
    graph = _graph(
        nodes,
        {"table": table, "axis": np.array([1])},
        {"input_ids": INT64},
        {
            "token_embeddings": (FP32, ("batch", "sequence", width)),
            "sentence_embedding": (FP32, ("batch", width)),
        },
    )
    return _written(folder, graph, "model.onnx", files or {})


def cross_encoder_folder(folder: Path, *, labels: int = 1, files: Mapping[str, Any] | None = None) -> Path:
    """A network that sums over the tokens of question and text; those of the text count twice."""
    table = cross_encoder_table(labels).astype(np.float32)
    nodes = [
        _node("Gather", ["table", "input_ids"], ["looked_up"]),
        _node("Gather", ["segments", "token_type_ids"], ["segment"]),
        _node("Mul", ["looked_up", "segment"], ["product"]),
        _node("Cast", ["attention_mask"], ["mask"], to=FP32),
        _node("Unsqueeze", ["mask", "last"], ["column"]),
        _node("Mul", ["product", "column"], ["masked"]),
        _node("ReduceSum", ["masked", "axis"], ["logits"], keepdims=0),
    ]
    constants = {
        "table": table,
        "segments": np.array([[1.0], [2.0]], np.float32),
        "axis": np.array([1]),
        "last": np.array([2]),
    }
    inputs = {"input_ids": INT64, "attention_mask": INT64, "token_type_ids": INT64}
    graph = _graph(nodes, constants, inputs, {"logits": (FP32, ("batch", labels))})
    return _written(folder, graph, "model.onnx", files or {})


def vocabulary_table(seed: int = 1, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Table and weights of `embedding_folder`."""
    random = np.random.default_rng(seed)
    return random.normal(size=(len(VOCABULARY), width)), random.normal(size=(width, width))


def cross_encoder_table(labels: int = 1) -> np.ndarray:
    return np.random.default_rng(2).normal(scale=0.05, size=(len(VOCABULARY), labels))


def token_ids(*tokens: str) -> list[int]:
    return [VOCABULARY.index(token) for token in tokens]


def _written(folder: Path, graph: bytes, onnx: str, files: Mapping[str, Any]) -> Path:
    weights = folder / onnx
    weights.parent.mkdir(parents=True, exist_ok=True)
    opset = _number(2, 17)
    weights.write_bytes(_number(1, 8) + _field(8, opset) + _field(7, graph))
    _tokenizer().save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def _tokenizer() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.enable_padding(pad_token="[PAD]", length=64)  # as some are saved: ours pads to the longest
    return tokenizer


def _graph(
    nodes: Sequence[bytes],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, int],
    outputs: Mapping[str, tuple[int, Sequence[str | int]]],
) -> bytes:
    made = b"".join(_field(1, node) for node in nodes) + _text(2, "tiny")
    made += b"".join(_field(5, _tensor(name, value)) for name, value in constants.items())
    made += b"".join(_field(11, _value(name, kind, ("batch", "sequence"))) for name, kind in inputs.items())
    return made + b"".join(_field(12, _value(name, *kind)) for name, kind in outputs.items())


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> bytes:
    made = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    made += _text(4, operator)
    for name, value in attributes.items():  # of type INT
        made += _field(5, _text(1, name) + _number(3, value) + _number(20, 2))
    return made


def _tensor(name: str, value: np.ndarray) -> bytes:
    kinds = {"float32": FP32, "float16": FP16, "int64": INT64}
    dims = b"".join(_number(1, size) for size in value.shape)
    return dims + _number(2, kinds[str(value.dtype)]) + _text(8, name) + _field(9, value.tobytes())


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    dims = b"".join(
        _field(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, dims)))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])
