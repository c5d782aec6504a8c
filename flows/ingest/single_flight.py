"""Texts whose vectors are being made just now: a batch that needs one that another batch has asked for waits for
it instead of paying for it again. Threads of one process; what is stored is looked up in the database."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from pgfolio.flows.embedding.batching import Postponed, RejectedInput

    EmbeddingOutcome = np.ndarray | RejectedInput | Postponed


class InFlight:
    """By the hash of the text as embedded. Whoever claims one answers it, before waiting for another's: so no two
    wait for each other."""

    def __init__(self) -> None:
        self._answers: dict[bytes, Future[EmbeddingOutcome]] = {}
        self._lock = Lock()

    def claim(self, hashes: Iterable[bytes]) -> tuple[list[bytes], dict[bytes, Future[EmbeddingOutcome]]]:
        """Those that are the caller's to answer, and the answers of those that are another's."""
        claimed: list[bytes] = []
        awaited: dict[bytes, Future[EmbeddingOutcome]] = {}
        with self._lock:
            for key in hashes:
                if key in self._answers:
                    awaited[key] = self._answers[key]
                else:
                    self._answers[key] = Future()
                    claimed.append(key)
        return claimed, awaited

    def answer(self, answers: Mapping[bytes, EmbeddingOutcome]) -> None:
        for key, answer in answers.items():
            self._answers[key].set_result(answer)

    def fail(self, hashes: Iterable[bytes], error: BaseException) -> None:
        """What a claim could not be answered for; those that wait for it raise the same."""
        for key in hashes:
            self._answers[key].set_exception(error)

    def forget(self, hashes: Iterable[bytes]) -> None:
        """Once they are stored, or given up: the next one looks into the database."""
        with self._lock:
            for key in hashes:
                self._answers.pop(key, None)
