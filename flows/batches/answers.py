"""Takes what a server answers to a batch: vectors are stored as they come, in short transactions; a line that it
refused is to be asked for directly, one that it did not come to is to be handed in again. All may be done again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from pgfolio.config.models.protocols import TransientError
from pgfolio.flows.batches.lines import hash_of
from pgfolio.schema.vectors import batches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfolio.config.models.batch_api import BatchApi, BatchLine, ServerBatch
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Space
    from pgfolio.schema.vectors.batches import HandedInBatch, StoredAnswers

STORED_TOGETHER: Final = 200
"""Vectors in one transaction, and in memory: 1.2 MB of 1,536 dimensions."""


@dataclass
class Taken:
    """What came of answers. `returned`: texts without one."""

    texts: int = 0
    billed: int = 0
    counted: int = 0
    failed: int = 0
    returned: int = 0
    reasons: list[str] = field(default_factory=list)
    """Of lines that the server refused, the first ones."""

    def add(self, stored: StoredAnswers) -> None:
        self.texts += stored.texts
        self.billed += stored.billed
        self.counted += stored.counted


def take_answers(
    connection: Connection,
    api: BatchApi,
    batch: HandedInBatch,
    space: Space,
    server: ServerBatch,
    taken: Taken,
) -> None:
    """On a connection in autocommit. What was stored until an error counts in `taken`. Raises a ModelError: then the
    batch stays at work, and its answers are taken from the beginning again."""
    if server.output_file:
        lines = _store_all(connection, batch, space, api.answers(server.output_file), taken)
        if lines < server.completed:
            raise TransientError(
                f"the answers of batch {server.id} were cut off: {lines} of {server.completed}"
            )
    if server.error_file:
        _store_all(connection, batch, space, api.answers(server.error_file), taken)
    reason = "" if server.status == "completed" else f"the server ended it as {server.status}"
    taken.returned += batches.end(connection, batch, "done", reason=reason)


def _store_all(
    connection: Connection, batch: HandedInBatch, space: Space, lines: Iterable[BatchLine], taken: Taken
) -> int:
    """How many lines there were."""
    count = 0
    coming = iter(lines)
    while group := list(islice(coming, STORED_TOGETHER)):
        count += len(group)
        vectors, failed = [], []
        for line in group:
            key = hash_of(batch.space_id, line.custom_id)
            if key is None or line.expired:
                continue
            if line.vector is None:
                failed.append(key)
                taken.reasons += [line.said] * (len(taken.reasons) < 3)
            else:
                length = np.linalg.norm(line.vector)
                vectors.append((key, (line.vector / length).astype(np.float32), line.tokens))
        if vectors:
            taken.add(batches.store(connection, batch, space, vectors))
        if failed:
            batches.fail(connection, batch, failed)
            taken.failed += len(failed)
    return count
