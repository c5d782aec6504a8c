"""A reranker in this process: a cross-encoder, by ONNX Runtime, which the extra `transformers` installs. The model is
a folder with `model.onnx` and `tokenizer.json`, or a name that is fetched from the model hub once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTING: Final = "PGFOLIO_RERANK__MODEL"
LOGITS: Final = "logits"
AS_THEY_ARE: Final = "Identity"
"""The activation of a model whose scores are not to be brought between 0 and 1."""


class LocalReranker:
    """Scores of texts for a question, higher is better; from 0 to 1, where the model's files say nothing else."""

    def __init__(self, model: str, threads: int | None = None) -> None:
        """Raises ConfigError where the library is not installed or the model cannot be loaded."""
        self._encoder = open_encoder(model, SETTING, threads)
        shapes = {name: shape for name, shape in self._encoder.outputs.items() if len(shape) in {1, 2}}
        if not shapes:
            raise ConfigError(
                f"{SETTING}: {model!r} gives no score to a question and a text: it is no cross-encoder"
            )
        self._output = LOGITS if LOGITS in shapes else next(iter(shapes))
        width = shapes[self._output][-1] if len(shapes[self._output]) == 2 else 1
        if isinstance(width, int) and width > 2:
            raise ConfigError(
                f"{SETTING}: {model!r} gives {width:,} numbers to a question and a text, not a score"
            )

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        encodings = self._encoder.encode([(question, text) for text in texts])
        scores = np.zeros(len(texts))
        for batch in self._encoder.run(encodings, self._output):
            scores[batch.rows] = self._scores(batch.output.astype(np.float64).reshape(len(batch.rows), -1))
        return [float(score) for score in scores]

    def close(self) -> None:
        """There is nothing to close."""

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Of two numbers the second is for "relevant": by softmax their difference tells."""
        single = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        return single if self._encoder.card.activation == AS_THEY_ARE else np.exp(-np.logaddexp(0, -single))
