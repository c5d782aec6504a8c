"""What a transformer's own files say of it: how its tokens' vectors become one, how much it reads, what it wants put
before a text, and which weights it has. In the layout of sentence-transformers, with its defaults."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pgfolio.config.errors import ConfigError
from pgfolio.config.files import read_regular
from pgfolio.config.models.model_files import TOKENIZER
from pgfolio.config.models.onnx_precision import precision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgfolio.config.models.model_files import ModelFiles

Pooling: TypeAlias = Literal["mean", "cls", "max", "lasttoken"]
POOLINGS: Final[Mapping[str, Pooling]] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "max": "max",
    "max_tokens": "max",
    "lasttoken": "lasttoken",
}
MODE: Final = "pooling_mode"

QUERY_PROMPTS: Final = ("query",)
DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")
"""Names of prompts, the first that there is."""

MAX_TOKENS: Final = 512
"""Where no file says how much a model reads."""
UNLIMITED: Final = 1_000_000
"""From here on a length in a file means that nobody said one."""

PIECES: Final = 64
PIECE_BYTES: Final = 64 * 1024
"""So much of the weights makes their digest, spread over all: gigabytes would take seconds at each start."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`pooling` is used where the network does none itself. `other_modules`: of the pipeline, which the network must
    have inside. `max_tokens` has the special ones. `precision`: of most weights."""

    pooling: Pooling
    other_modules: tuple[str, ...]
    max_tokens: int
    lower_case: bool
    truncate_left: bool
    pad_token: str | None
    pad_id: int
    query_prefix: str
    document_prefix: str
    activation: str
    """Of a cross-encoder's score; empty: nothing said."""
    precision: str
    digest: str

    @property
    def version(self) -> str:
        """Tells these weights from others of the same name."""
        return f"{self.precision}-{self.digest}"


def read_card(files: ModelFiles, setting: str) -> ModelCard:
    """Raises ConfigError where a file says what cannot be done."""
    folder = files.folder
    modules = [
        (str(module.get("type", "")).rpartition(".")[2], str(module.get("path", "")))
        for module in _read(folder, "modules.json", list)
        if isinstance(module, dict)
    ]
    sentence = _read(folder, "sentence_bert_config.json", dict)
    tokenizer = _read(folder, "tokenizer_config.json", dict)
    config = _read(folder, "config.json", dict)
    prompts = _read(folder, "config_sentence_transformers.json", dict)
    pooling = _pooling(folder, modules, setting)
    max_tokens, lower_case = _max_tokens(sentence, tokenizer, config), sentence.get("do_lower_case") is True
    return ModelCard(
        pooling=pooling,
        other_modules=tuple(
            kind for kind, _ in modules if kind not in {"Transformer", "Pooling", "Normalize"}
        ),
        max_tokens=max_tokens,
        lower_case=lower_case,
        truncate_left=tokenizer.get("truncation_side") == "left",
        pad_token=_token(tokenizer.get("pad_token")),
        pad_id=config.get("pad_token_id") if isinstance(config.get("pad_token_id"), int) else 0,
        query_prefix=_prompt(prompts, QUERY_PROMPTS),
        document_prefix=_prompt(prompts, DOCUMENT_PROMPTS),
        activation=_activation(config),
        precision=precision(files.weights),
        digest=_digest(files, f"{pooling} {max_tokens} {lower_case}"),
    )


def _pooling(folder: Path, modules: list[tuple[str, str]], setting: str) -> Pooling:
    """The mean, where no file says another."""
    path = next((path for kind, path in modules if kind == "Pooling"), "1_Pooling")
    said = _read(folder, f"{path}/config.json", dict)
    modes = [
        name.removeprefix(f"{MODE}_")
        for name, on in said.items()
        if name.startswith(f"{MODE}_") and on is True
    ]
    if isinstance(said.get(MODE), str):
        modes = [said[MODE]]
    if not modes:
        return "mean"
    if len(modes) > 1 or modes[0] not in POOLINGS:
        raise ConfigError(
            f"{setting}: {folder / path / 'config.json'} pools by {' and '.join(modes)}, which is not known here; "
            f"known are {', '.join(sorted(set(POOLINGS.values())))}"
        )
    return POOLINGS[modes[0]]


def _max_tokens(sentence: Mapping[str, Any], tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """As sentence-transformers finds it: what its own file says, else the least of the others."""
    if said := _length(sentence.get("max_seq_length")):
        return said
    others = [_length(tokenizer.get("model_max_length")), _length(config.get("max_position_embeddings"))]
    return min((length for length in others if length), default=MAX_TOKENS)


def _length(value: Any) -> int:
    """0: nothing that could be meant."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < UNLIMITED else 0


def _prompt(config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    prompts = config.get("prompts")
    if not isinstance(prompts, dict):
        return ""
    for name in (*names, config.get("default_prompt_name")):
        if isinstance(prompt := prompts.get(name), str):
            return prompt
    return ""


def _token(value: object) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _activation(config: Mapping[str, Any]) -> str:
    own = config.get("sentence_transformers")
    said = own.get("activation_fn") if isinstance(own, dict) else None
    said = said or config.get("sbert_ce_default_activation_function")
    return str(said or "").rpartition(".")[2]


def _digest(files: ModelFiles, use: str) -> str:
    """Of all that another vector could come of: weights, tokenizer, `use` of both. Eight hexadecimal digits."""
    digest = hashlib.sha256(use.encode())
    digest.update((files.folder / TOKENIZER).read_bytes())
    beside = files.weights.parent.iterdir()  # large ones have their weights in files of like names
    for weights in sorted(path for path in beside if path.name.startswith(files.weights.name)):
        size = weights.stat().st_size
        digest.update(f"{size}\0".encode())
        step = max(size // PIECES, PIECE_BYTES)
        with weights.open("rb") as file:
            for start in range(0, size, step):
                file.seek(start)
                digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()[:8]


def _read(folder: Path, name: str, kind: type[Any]) -> Any:
    """What a JSON file says; empty where there is none."""
    path = folder / name
    if not path.is_file():
        return kind()
    try:
        said = json.loads(read_regular(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return said if isinstance(said, kind) else kind()
