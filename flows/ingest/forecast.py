"""What a sync would embed, cost and take: by reading what it would read, or, quickly, by the sizes of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pgfolio.flows.discovery.reader import reader
from pgfolio.flows.ingest.prepare import prepared
from pgfolio.schema.operations import runs
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.discovery.plan import Plan
    from pgfolio.flows.ingest.prepare import Failed, Left, Parcel, Recipe, Todo
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Source, Space

READ_AT_MOST = 5000
"""Files that a plan reads; of more it reads as many, evenly spread, and reckons with their bytes."""

TOKENS_PER_BYTE = 0.25
"""Of a source of which nothing is stored yet."""

TOKENS_PER_SECOND = {"local": 400_000.0, "openai": 50_000.0}
"""Of a space in which no run has embedded much yet."""

Action = Literal["add", "change", "move", "remove", "hold", "fail"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One document of a plan. `tokens`: to be embedded; None where its file was not read for the plan."""

    source: str
    action: Action
    path: str
    moved_from: str | None = None
    tokens: int | None = None


@dataclass
class Forecast:
    """Of one source. `unchanged`: files that would be read and found to be as they are."""

    documents: list[Planned] = field(default_factory=list)
    tokens: int = 0
    unchanged: int = 0
    sampled: bool = False
    failed: list[Failed] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


class Forecaster:
    """Counts a text that stands in several documents once."""

    def __init__(
        self,
        settings: Settings,
        conninfo: str,
        recipe: Recipe,
        count: Callable[[Sequence[str]], list[int]],
        report: Report,
    ) -> None:
        self._timeout = settings.crawl.extract_timeout
        self._conninfo = conninfo
        self._recipe = recipe
        self._count = count
        self._report = report
        self._seen: set[bytes] = set()

    def of(
        self,
        connection: Connection,
        generation: Generation | None,
        source: Source,
        plan: Plan,
        todos: Sequence[Todo],
        advance: Callable[[int, int], None],
    ) -> Forecast:
        """Reads, extracts and chunks what the sync would; embeds and writes nothing."""
        found = Forecast(documents=list(_settled(source, plan)))
        step = -(-len(todos) // READ_AT_MOST) or 1
        sample = todos[::step]
        found.sampled = step > 1
        with (
            reader(self._conninfo, source) as read,
            prepared(read, sample, self._recipe, self._count, self._report, self._timeout) as parcels,
        ):
            for parcel in parcels:
                self._add(connection, generation, source, parcel, found)
                advance(parcel.files, 0)
        if found.sampled:
            self._scale(source, todos, sample, found)
        return found

    def _add(
        self,
        connection: Connection,
        generation: Generation | None,
        source: Source,
        parcel: Parcel,
        found: Forecast,
    ) -> None:
        hashes = {chunk.hash for item in parcel.prepared for chunk in item.chunks} - self._seen
        self._seen |= hashes
        if generation is not None and hashes:
            hashes -= generations.reuse(connection, generation, list(hashes)).keys()
            connection.commit()
        for item in parcel.prepared:
            tokens = 0
            for chunk in item.chunks:
                if chunk.hash in hashes:
                    hashes.remove(chunk.hash)
                    tokens += chunk.tokens
            found.tokens += tokens
            path = item.todo.entry.path
            found.documents.append(Planned(source.name, _action(item.todo), path, tokens=tokens))
        found.documents += [Planned(source.name, "fail", item.todo.entry.path) for item in parcel.failed]
        found.unchanged += len(parcel.touched)
        found.failed += parcel.failed
        found.left += parcel.left

    def _scale(self, source: Source, todos: Sequence[Todo], sample: Sequence[Todo], found: Forecast) -> None:
        read = {todo.entry.path for todo in sample}
        found.documents += [
            Planned(source.name, _action(todo), todo.entry.path)
            for todo in todos
            if todo.entry.path not in read
        ]
        found.tokens = round(found.tokens * _bytes(todos) / max(_bytes(sample), 1))


def by_size(connection: Connection, source: Source, todos: Sequence[Todo]) -> int:
    """Tokens of files, by their bytes, as the documents stored of the source have them."""
    rate = runs.tokens_per_byte(connection, source.id) or TOKENS_PER_BYTE
    return round(_bytes(todos) * rate)


def seconds(connection: Connection, settings: Settings, space: Space, tokens: int) -> float:
    """How long embedding takes: as fast as the last run in the space, and within the allowed rate."""
    rate = runs.tokens_per_second(connection, space.name) or TOKENS_PER_SECOND[space.provider]
    limit = settings.embedding.tokens_per_minute
    if limit and space.provider != "local":
        rate = min(rate, limit / 60)
    return tokens / rate


def _settled(source: Source, plan: Plan) -> Iterator[Planned]:
    """What the plan says without reading a file."""
    for move in plan.moved:
        yield Planned(source.name, "move", move.entry.path, moved_from=move.known.path, tokens=0)
    for known in plan.removed:
        yield Planned(source.name, "remove", known.path)
    for known in (*plan.held, *plan.detached, *plan.unknown):
        yield Planned(source.name, "hold", known.path)


def _action(todo: Todo) -> Action:
    return "add" if todo.known is None or todo.known.document_id is None else "change"


def _bytes(todos: Sequence[Todo]) -> int:
    return sum(todo.entry.signature.size for todo in todos)
