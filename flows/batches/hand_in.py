"""Hands texts in: writes them into files within the server's limits, uploads these, and has batches made of them.

A row is written before anything is sent, and its key stands in the batch's metadata: whoever comes after a killed run
finds what it handed in, whatever it had noted.
"""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import islice
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from pgfolio.config.models.batch_limits import MAX_BYTES, MAX_LINES
from pgfolio.flows.batches.lines import custom_id
from pgfolio.flows.embedding.retry import with_retries
from pgfolio.flows.run.sample import SAMPLE_TEXTS
from pgfolio.schema.vectors import batches, claims, reuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pgfolio.config.models.batch_api import BatchApi
    from pgfolio.flows.batches.lines import BatchText
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.batches import HandedInBatch

MAX_TOKENS: Final = 2_000_000
"""Of one batch, by estimate: the smallest queue that OpenAI is known to give holds 3,000,000, and a batch that is
refused or expires is done again as a whole."""

CLAIMED_TOGETHER: Final = 500
"""Texts: what is looked up at once."""


class BatchFile:
    """Lines that become one batch. The file has no name: it goes with the process."""

    def __init__(self, batch: HandedInBatch) -> None:
        self.batch = batch
        self.file = TemporaryFile(prefix="pgfolio-batch-")  # noqa: SIM115 -- closed with its batch
        self.texts = self.bytes = self.tokens = 0

    def add(self, line: bytes, tokens: int) -> None:
        self.file.write(line)
        self.texts += 1
        self.bytes += len(line)
        self.tokens += tokens


class HandIn:
    """Of one run, inside `batches.alone`, on a connection in autocommit."""

    def __init__(
        self,
        connection: Connection,
        api: BatchApi,
        generation: Generation,
        *,
        run_id: int | None,
        space_id: int,
        usd_per_million_tokens: float,
        billed_per_counted: Callable[[Sequence[tuple[str, int]]], float],
        max_tokens: float,
        deadline: float,
    ) -> None:
        """`billed_per_counted`: what the server is expected to bill for a token of ours, from some of the texts;
        `max_tokens`: as billed, that may be handed in."""
        self._connection = connection
        self._api = api
        self._generation = generation
        self._run_id = run_id
        self._space_id = space_id
        self._price = usd_per_million_tokens
        self._learn = billed_per_counted
        self._billed_per_counted: float | None = None
        self._max_tokens = max_tokens
        self._deadline = deadline
        self._queue = batches.queue_tokens(connection, space_id, api.place) or math.inf
        self._file: BatchFile | None = None
        self._is_begun = False
        self.texts = 0
        self.is_limited = False
        """The allowed cost did not cover the rest."""

    def hand_in(self, groups: Iterable[Sequence[BatchText]], at_least: int = 0) -> None:
        """`at_least`: fewer texts are not worth it, and none is handed in. Raises a ModelError."""
        try:
            for texts in _together(groups):
                self._add(texts)
                if self.is_limited:
                    break
            if self.texts >= at_least or self._is_begun:
                self._end_file()
        finally:
            if self._file is not None:  # nothing of it was handed in
                batches.discard(self._connection, self._file.batch)

    def send(self, batch: HandedInBatch) -> None:
        """Have a batch made of a file that is at the server. A connection that was lost may have made one: it is
        looked for before it is tried again. Raises a ModelError."""
        is_first = True

        def attempt() -> str:
            nonlocal is_first
            if not is_first and (known := at_server(self._api, [batch]).get(batch.key)):
                return known
            is_first = False
            return self._api.create(batch.file_id or "", batch.key).id

        batches.note_handed_in(self._connection, batch, with_retries(attempt, self._deadline))

    def send_uploaded(self) -> None:
        """Those that wait for a place in the server's queue, as far as it has any."""
        opened = batches.open_batches(self._connection, self._space_id)
        at_work = sum(batch.tokens_estimated for batch in opened if batch.state == "handed_in")
        for batch in opened:
            if batch.state != "uploaded" or batch.server != self._api.place or not _is_due(batch):
                continue
            if at_work and at_work + batch.tokens_estimated > self._queue:
                return
            self.send(batch)
            at_work += batch.tokens_estimated

    def _add(self, texts: Sequence[BatchText]) -> None:
        if self._billed_per_counted is None:
            step = max(len(texts) // SAMPLE_TEXTS, 1)
            self._billed_per_counted = self._learn([(text.text, text.tokens) for text in texts[::step]])
        keys = [text.hash for text in texts]
        with claims.claimed(self._connection, self._generation, keys) as claimed:
            stored = reuse.reuse(self._connection, self._generation, claimed)
            free = set(claimed) - stored.keys()
            lacking: Sequence[BatchText] = [text for text in texts if text.hash in free]
            while lacking and not self.is_limited:
                lacking = self._write(lacking)

    def _write(self, texts: Sequence[BatchText]) -> Sequence[BatchText]:
        """As many as the file has room for; the rest."""
        file = self._file = self._file or BatchFile(self._new_batch())
        lines = {text.hash: self._api.line(custom_id(self._space_id, text.hash), text.text) for text in texts}
        room = self._room(file, texts, lines)
        accepted = batches.claim(
            self._connection, file.batch, [(text.hash, text.tokens) for text in texts[:room]]
        )
        for text in texts[:room]:
            if text.hash in accepted:
                file.add(lines[text.hash], self._estimate(text))
                self.texts += 1
        if room < len(texts) and not self.is_limited:
            self._end_file()
        return texts[room:]

    def _room(self, file: BatchFile, texts: Sequence[BatchText], lines: dict[bytes, bytes]) -> int:
        """How many of the texts, one at least of an empty file."""
        size, tokens, max_tokens = file.bytes, file.tokens, min(MAX_TOKENS, self._queue)
        for number, text in enumerate(texts):
            size += len(lines[text.hash])
            tokens += self._estimate(text)
            if tokens > self._max_tokens:
                self.is_limited = True
                return number
            is_over = size > MAX_BYTES or tokens > max_tokens or file.texts + number >= MAX_LINES
            if is_over and file.texts + number:
                return number
        return len(texts)

    def _end_file(self) -> None:
        """Upload it, and have a batch made of it if there is room in the queue."""
        file = self._file
        if file is None or not file.texts:
            return
        with file.file:
            file_id = with_retries(partial(self._upload, file), self._deadline)
        batches.note_uploaded(self._connection, file.batch, file_id, file.tokens)
        self._file, self._is_begun = None, True
        self._max_tokens -= file.tokens
        self.send_uploaded()

    def _upload(self, file: BatchFile) -> str:
        file.file.seek(0)
        return self._api.upload(file.file)

    def _new_batch(self) -> HandedInBatch:
        return batches.begin(self._connection, self._space_id, self._api.place, self._run_id, self._price)

    def _estimate(self, text: BatchText) -> int:
        return math.ceil(text.tokens * (self._billed_per_counted or 1.0))


def at_server(api: BatchApi, uploaded: Sequence[HandedInBatch]) -> dict[str, str]:
    """Of batches whose id was not noted the server's, by our key: made by a run that was killed, or whose connection
    was. One that the server failed was never at work. Raises a ModelError."""
    if not uploaded:
        return {}
    since = min(batch.made_at.timestamp() for batch in uploaded)
    keys = {batch.key for batch in uploaded}
    listed = [server for server in api.listed(since) if server.key in keys and not server.has_failed]
    return {server.key: server.id for server in reversed(listed)}


def _is_due(batch: HandedInBatch) -> bool:
    """One that was refused is tried again later and later, up to ten minutes."""
    if not batch.attempts or batch.handed_in_at is None:
        return True
    return time.time() - batch.handed_in_at.timestamp() > min(2.0**batch.attempts, 600.0)


def _together(groups: Iterable[Sequence[BatchText]]) -> Iterator[list[BatchText]]:
    """Each text once among those that are looked up at once."""
    for group in groups:
        texts = iter({text.hash: text for text in group}.values())
        while part := list(islice(texts, CLAIMED_TOGETHER)):
            yield part
