"""A transformer that embeds, in the process: vectors of texts out of those of their tokens, as the model's own files
say (model_card.py). A folder with `model.onnx` and `tokenizer.json`, or a name on the model hub.

Its name in a space ends with `@` and a version, as in `/srv/minilm@int8-1a2b3c4d`: other weights under the same name
are another space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.encoder import Encoder, check_installed, open_encoder
from pgfolio.config.models.model_card import read_card
from pgfolio.config.models.model_files import is_hub_name, is_local, locate
from pgfolio.config.models.protocols import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.models.encoder import EncodedBatch
    from pgfolio.config.models.model_card import ModelCard, Pooling

SETTING: Final = "PGFOLIO_EMBEDDING__MODEL"
SENTENCE_OUTPUT: Final = "sentence_embedding"
TOKEN_OUTPUTS: Final = ("last_hidden_state", "token_embeddings")


class OtherWeightsError(ConfigError):
    """A model's files are not those that made the stored vectors."""


def transformer_space(name: str, dimensions: int | None = None) -> tuple[str, int]:
    """The name in a space, and the dimensions, of the model that this name means now. Raises ConfigError."""
    model = TransformerModel(open_encoder(name, SETTING), dimensions)
    return f"{model.encoder.files.name}@{model.encoder.card.version}", model.dimensions


def check_transformer(name: str) -> None:
    """What can be known without loading the weights, or fetching them from the hub. Raises ConfigError."""
    check_installed(SETTING)
    if is_local(name) or not is_hub_name(name):
        read_card(locate(name, SETTING), SETTING)


def card_of(model: str) -> ModelCard:
    """What the files of a space's model say. Raises ConfigError."""
    return read_card(locate(model.rpartition("@")[0], SETTING), SETTING)


def transformer_model(
    model: str, dimensions: int, configured: str = "", threads: int | None = None
) -> TransformerModel:
    """The model of a space, by its name there; where its folder was moved, the `configured` one, if that has the same
    weights. Raises ConfigError, OtherWeightsError."""
    name, _, version = model.rpartition("@")
    problem: ConfigError | None = None
    for place in (name, *([configured] if is_local(configured) else ())):
        try:
            files = locate(place, SETTING)
            card = read_card(files, SETTING)
        except ConfigError as error:
            problem = problem or error
            continue
        if card.version == version:
            return TransformerModel(Encoder(files, card, SETTING, threads), dimensions)
        problem = problem or OtherWeightsError(
            f"{SETTING}: {place!r} has other weights ({card.version}) than those that made the stored vectors "
            f"({version}): put these back, or run `pgfolio reembed`"
        )
    assert problem is not None  # noqa: S101
    raise problem


class TransformerModel:
    """Vectors of shape (inputs, dimensions), of length 1 but for a text without tokens, which has a zero vector."""

    in_flight = 1

    def __init__(self, encoder: Encoder, dimensions: int | None = None) -> None:
        """`dimensions`: the first so many of the model's, for models that were trained for that; None: all. Raises
        ConfigError."""
        self.encoder = encoder
        self._output, self._pools, width = _output(encoder)
        self.width = width or self._probed_width()
        self.dimensions = dimensions or self.width
        if self.dimensions > self.width:
            raise ConfigError(
                f"PGFOLIO_EMBEDDING__DIMENSIONS: {encoder.files.name!r} has {self.width}, not {self.dimensions}"
            )

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """`tokens` are the model's own, of what it reads of the texts."""
        lower = self.encoder.card.lower_case
        encodings = self.encoder.encode([text.lower() for text in texts] if lower else texts)
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        for batch in self.encoder.run(encodings, self._output):
            vectors[batch.rows] = self._pooled(batch)
        vectors = vectors[:, : self.dimensions]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return Embeddings(np.ascontiguousarray(vectors), sum(map(len, encodings)))

    def _pooled(self, batch: EncodedBatch) -> np.ndarray:
        output = batch.output.astype(np.float32, copy=False)
        return pooled(output, batch.mask, self.encoder.card.pooling) if self._pools else output

    def _probed_width(self) -> int:
        """Where the file does not say it."""
        for batch in self.encoder.run(self.encoder.encode(["width"]), self._output):
            return int(batch.output.shape[-1])
        raise AssertionError


def pooled(tokens: np.ndarray, mask: np.ndarray, pooling: Pooling) -> np.ndarray:
    """One vector of each text's: `tokens` of shape (texts, tokens, width), `mask` of (texts, tokens)."""
    lengths = mask.sum(axis=1)
    vectors: np.ndarray
    if pooling in {"cls", "lasttoken"}:
        places = 0 if pooling == "cls" else np.maximum(lengths - 1, 0)
        vectors = tokens[np.arange(len(tokens)), places]
        return vectors
    column = mask[:, :, np.newaxis].astype(np.float32)
    if pooling == "max":
        vectors = np.where(column > 0, tokens, -np.inf).max(axis=1)
        return np.where(lengths[:, np.newaxis] > 0, vectors, 0)
    vectors = np.matmul(column.transpose(0, 2, 1), tokens)[:, 0]
    vectors /= np.maximum(lengths, 1).astype(np.float32)[:, np.newaxis]
    return vectors


def _output(encoder: Encoder) -> tuple[str, bool, int]:
    """The output that has the vectors, whether they are the tokens', and their width, 0 where the file does not say
    it. Raises ConfigError."""
    shapes = encoder.outputs
    sentences = [name for name, shape in shapes.items() if len(shape) == 2]
    tokens = [name for name, shape in shapes.items() if len(shape) == 3]
    if SENTENCE_OUTPUT in sentences or (sentences and not tokens):
        name, pools = SENTENCE_OUTPUT if SENTENCE_OUTPUT in sentences else sentences[0], False
    elif not tokens:
        raise ConfigError(
            f"{SETTING}: {encoder.files.weights} has no output with vectors of texts or of tokens"
        )
    elif encoder.card.other_modules:
        raise ConfigError(
            f"{SETTING}: {encoder.files.name!r} goes on with {', '.join(encoder.card.other_modules)} after pooling, "
            f"which {encoder.files.weights.name} has not inside"
        )
    else:
        name, pools = next((known for known in TOKEN_OUTPUTS if known in tokens), tokens[0]), True
    width = shapes[name][-1]
    return name, pools, width if isinstance(width, int) else 0
