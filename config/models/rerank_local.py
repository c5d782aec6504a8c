"""A reranker in this process: a cross-encoder of sentence-transformers, which the extra `rerank` installs. The model
is a folder, or a name that is fetched when it is first used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pgfolio.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


class LocalReranker:
    """Scores of texts for a question, higher is better. One question at a time: torch takes all cores for each."""

    def __init__(self, model: str) -> None:
        """Raises ConfigError where the library is not installed or the model cannot be loaded."""
        try:
            from sentence_transformers import CrossEncoder  # noqa: PLC0415 -- torch takes seconds to import
        except ImportError as error:
            raise ConfigError(
                "PGFOLIO_RERANK__API is local, which needs sentence-transformers: pip install 'pgfolio[rerank]'"
            ) from error
        try:
            self._model: Any = CrossEncoder(model)
        except (OSError, ValueError) as error:
            raise ConfigError(f"PGFOLIO_RERANK__MODEL: {model!r} cannot be loaded: {error}") from error
        self._lock = threading.Lock()

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        with self._lock:
            scores = self._model.predict([(question, text) for text in texts], show_progress_bar=False)
        return [float(score) for score in scores]

    def close(self) -> None:
        """There is nothing to close."""
