"""The bundled embedding model: wordllama's 256-dimension static vectors, in the process, no network.

A text's vector is the mean of its tokens' vectors, as wordllama's own `embed` gives, but without padding each
batch to its longest text: on 6,111 chunks of the Prefect documentation 1.2 s instead of 4.4 s, equal to the bit.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors.numpy import load_file

from pgfolio.config.models.piecewise import PiecewiseTokenizer
from pgfolio.config.models.protocols import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence


MODEL: Final = "wordllama-256"
DIMENSIONS: Final = (256, 128, 64)
"""The model was trained so that a prefix of a vector is a vector too (Matryoshka)."""

WORD: Final = re.compile(r"\w+")
MARK: Final = re.compile(r"[^\w\s]")

FERTILITY: Final = 1.2
"""Tokens that an English word has in the mean."""

MIN_COVERAGE: Final = 0.2
"""Even of a question whose words fall apart into letters, something is known."""

MAX_CACHED_TOKENS: Final = 4_000_000
"""Token ids cached between counting a text and embedding it: two bytes each."""


class BundledTokenizer:
    """Counts tokens, and caches the ids of what it counted until they are embedded, so that each text is
    tokenised once. Safe to use from several threads."""

    def __init__(self) -> None:
        self._tokenizer = PiecewiseTokenizer(_package() / "tokenizers" / "l2_supercat_tokenizer_config.json")
        self._cached_ids: dict[str, np.ndarray] = {}
        self._cached_tokens = 0
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, as uint16 arrays."""
        return self._tokenizer.encode(texts)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text; their ids are cached for `take`."""
        encoded = self.encode(texts)
        with self._lock:
            if self._cached_tokens > MAX_CACHED_TOKENS:
                self._cached_ids.clear()
                self._cached_tokens = 0
            self._cached_ids.update(zip(texts, encoded, strict=True))
            self._cached_tokens += sum(len(ids) for ids in encoded)
        return [len(ids) for ids in encoded]

    def take(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text: the cached ones, which are then forgotten, or made now."""
        with self._lock:
            cached = [self._cached_ids.pop(text, None) for text in texts]
            self._cached_tokens -= sum(len(ids) for ids in cached if ids is not None)
        missing = iter(self.encode([text for text, ids in zip(texts, cached, strict=True) if ids is None]))
        return [next(missing) if ids is None else ids for ids in cached]


class LocalModel:
    """Vectors of length 1, shape (inputs, dimensions). A text without any token gives a zero vector."""

    in_flight = 1

    def __init__(self, dimensions: int = DIMENSIONS[0], tokenizer: BundledTokenizer | None = None) -> None:
        if dimensions not in DIMENSIONS:
            raise ValueError(
                f"the local model has {', '.join(map(str, DIMENSIONS))} dimensions, not {dimensions}"
            )
        self.dimensions = dimensions
        self._tokenizer = tokenizer or BundledTokenizer()
        self._ones = np.ones(1024, dtype=np.float32)

    @cached_property
    def _table(self) -> np.ndarray:
        """Read when first needed: a sync prepares its first documents meanwhile."""
        return table()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        encoded = self._tokenizer.take(texts)
        vectors = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for row, ids in enumerate(encoded):
            if len(ids):
                vectors[row] = self._sum(ids)
        vectors = vectors[:, : self.dimensions]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return Embeddings(np.ascontiguousarray(vectors), sum(map(len, encoded)))

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text; about as many as other models make of it."""
        return [len(ids) for ids in self._tokenizer.encode(texts)]

    def _sum(self, ids: np.ndarray) -> np.ndarray:
        """Sum of the tokens' vectors, by blocks so that a giant text needs no giant array."""
        blocks = (ids[i : i + len(self._ones)] for i in range(0, len(ids), len(self._ones)))
        total: np.ndarray = sum(self._ones[: len(b)] @ self._table.take(b, axis=0) for b in blocks)
        return total


def vocabulary_coverage(text: str, tokens: int) -> float:
    """How well the bundled model knows the words of a text of so many tokens: 1 for everyday English, less the more
    tokens it makes of a word, its fertility (Rust and others, "How Good is Your Tokenizer?", 2021). Marks are tokens
    of their own."""
    words, of_words = len(WORD.findall(text)), tokens - len(MARK.findall(text))
    if not words or of_words <= 0:
        return 1.0
    return max(min(1.0, FERTILITY * words / of_words) ** 3, MIN_COVERAGE)


def _package() -> Path:
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ImportError("the bundled embedding model is missing: pip install wordllama")
    return Path(spec.origin).parent


@cache
def bundled_tokenizer() -> BundledTokenizer:
    """One for all of a process."""
    return BundledTokenizer()


@cache
def table() -> np.ndarray:
    """The matrix of wordllama, of shape (vocabulary, 256), float32; one for all of a process.

    Read from its file: importing wordllama itself takes 0.25 s and calls logging.basicConfig.
    """
    tensors = load_file(_package() / "weights" / "l2_supercat_256.safetensors")
    (matrix,) = tensors.values()
    return np.ascontiguousarray(matrix, dtype=np.float32)


@cache
def local_model() -> LocalModel:
    return LocalModel()
