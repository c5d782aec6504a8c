"""`eval`: retrieval quality on labelled queries, through the same retrieval as the API.

Documents are ranked by their best chunks. The measures are trec_eval's, by the library ir-measures: nDCG@10 with
linear gains, the reciprocal rank of the first relevant document (MRR@10), recall@10. A query that finds nothing
counts as zero.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated

import ir_measures
import msgspec
import numpy as np
from ir_measures import RR, R, nDCG

from pgfolio.config.models import embedding_model
from pgfolio.config.models.protocols import ModelError
from pgfolio.query_api.retrieval.query import Mode, Query
from pgfolio.query_api.retrieval.query_embedding import ActiveSpace
from pgfolio.query_api.retrieval.retriever import Retriever
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database
from pgfolio.schema.search.catalog import unknown_paths
from pgfolio.schema.search.pool import reading
from pgfolio.schema.search.vector import find_generation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.query_api.services import Services

LOG = logging.getLogger("query_api")
CHUNKS_PER_DOCUMENT = 10
"""Chunks are asked for until this many make a document, up to the API's own most."""

MOST_CHUNKS = 100


@dataclass(frozen=True, slots=True)
class Way:
    """One way to retrieve that is measured; None: as the settings say, of the active generation."""

    mode: Mode
    fusion: Fusion | None = None
    ef_search: int | None = None
    rerank: bool = False
    vector_weight: float | None = None
    generation: int | None = None


WAYS = (Way("vector"), Way("lexical"), Way("hybrid", "scores"), Way("hybrid", "rrf"))
"""What stands side by side unless one is asked for."""


def compared(
    ways: Sequence[Way],
    ef_searches: Sequence[int],
    generations: Sequence[int],
    weights: Sequence[float],
    *,
    rerank: bool,
) -> list[Way]:
    """Each way with each of the settings, in that order; by words alone there is no ef_search, and one generation
    serves for all; weights are of fusing scores."""
    far: list[int | None] = [*dict.fromkeys(ef_searches)] or [None]
    spaces: list[int | None] = [*dict.fromkeys(generations)] or [None]
    shares: list[float | None] = [*dict.fromkeys(weights)] or [None]
    found = []
    for way in ways:
        alone = way.mode == "lexical"
        fused = way.mode == "hybrid" and way.fusion != "rrf"
        settings = product(
            spaces[:1] if alone else spaces,
            [None] if alone else far,
            shares if fused else [None],
            [False, True] if rerank else [False],
        )
        found += [
            replace(way, generation=g, ef_search=e, vector_weight=w, rerank=r) for g, e, w, r in settings
        ]
    return found


def named(ways: Sequence[Way]) -> dict[str, Way]:
    """By what they are; a setting stands in the names where it makes a difference."""
    far = {way.ef_search for way in ways if way.mode != "lexical"}
    spaces = {way.generation for way in ways}

    def name(way: Way) -> str:
        said = [
            f"{way.mode} ({way.fusion})" if way.fusion else way.mode,
            "" if way.vector_weight is None else f"vector_weight {way.vector_weight:g}",
            f"ef_search {way.ef_search}" if way.ef_search and len(far) > 1 else "",
            "reranked" if way.rerank else "",
            f"generation {way.generation}" if len(spaces) > 1 else "",
        ]
        return ", ".join(filter(None, said))

    return {name(way): way for way in ways}


class EvaluationError(Exception):
    """Labelled queries that cannot be evaluated; the message says which line, or what is missing."""


class Labelled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query with the grades of its relevant documents by path; what is not named counts 0. A measure's time grows
    with the grade: 70 s for 3e9."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=r"\S")]
    relevant: dict[str, Annotated[int, msgspec.Meta(ge=0, le=1000)]]


class Quality(msgspec.Struct, frozen=True):
    """Means over all queries; milliseconds of one retrieval, the query's embedding in it."""

    ndcg: float = msgspec.field(name="ndcg@10")
    mrr: float = msgspec.field(name="mrr@10")
    recall: float = msgspec.field(name="recall@10")
    queries: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class _OneSpace:
    """A space that does not follow the active one."""

    space: ActiveSpace

    async def current(self) -> ActiveSpace | None:
        return self.space

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        return seen


def read_labelled(path: Path) -> list[Labelled]:
    """The queries of a file, one JSON object a line; one without a relevant document measures nothing and is left
    out. Raises EvaluationError."""
    found = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    found.append(msgspec.json.decode(line, type=Labelled))
                except msgspec.DecodeError as error:
                    wanted = (
                        '{"query": "...", "relevant": {"path": grade}}, a grade a whole number from 0 to 1000'
                    )
                    raise EvaluationError(f"{path}, line {number}: {error}; a line is {wanted}") from error
    measured = [each for each in found if any(grade > 0 for grade in each.relevant.values())]
    if not measured:
        raise EvaluationError(f"{path} has no query with a relevant document")
    return measured


def chunks_for(limit: int) -> int:
    """How many are asked for so that they make `limit` documents."""
    return min(limit * CHUNKS_PER_DOCUMENT, MOST_CHUNKS)


def evaluate(
    settings: Settings,
    labelled: Sequence[Labelled],
    ways: Sequence[Way],
    limit: int,
) -> dict[str, Quality]:
    """The quality of each way, by its name. Raises EvaluationError, ModelError and what retrieving raises."""
    with database(settings) as conninfo:
        return asyncio.run(_evaluated(settings, conninfo, labelled, ways, limit))


async def _evaluated(
    settings: Settings,
    conninfo: str,
    labelled: Sequence[Labelled],
    ways: Sequence[Way],
    limit: int,
) -> dict[str, Quality]:
    found = {}
    async with AsyncExitStack() as opened:
        services = await opened.enter_async_context(open_services(settings, conninfo))
        if any(way.rerank for way in ways) and not services.retriever.reranks:
            raise EvaluationError("no reranker is set: PGFOLIO_RERANK__URL names one")
        spaces = {
            number: await opened.enter_async_context(_retriever(services, number))
            for number in {way.generation for way in ways}
        }  # each embeds a question once for all ways
        await _compare_paths(services.retriever, labelled)
        for name, way in named(ways).items():
            found[name] = await _quality(spaces[way.generation], labelled, way, limit)
    return found


async def _compare_paths(retriever: Retriever, labelled: Sequence[Labelled]) -> None:
    """What is not stored can't be found: said before numbers are made of it. Raises EvaluationError if nothing is."""
    paths = sorted({path for each in labelled for path, grade in each.relevant.items() if grade > 0})
    unknown = await reading(retriever.pool, partial(unknown_paths, paths=paths, permitted=None))
    if not unknown:
        return
    such = f"{len(unknown)} of {len(paths)} relevant documents are not stored, such as {unknown[0]!r}"
    if len(unknown) == len(paths):
        raise EvaluationError(
            f"{such}: a path is relative to its source's folder, as GET /documents shows it"
        )
    LOG.warning("%s: they count as not found", such)


@asynccontextmanager
async def _retriever(services: Services, generation_id: int | None) -> AsyncIterator[Retriever]:
    retriever = services.retriever
    if generation_id is None:
        if await retriever.spaces.current() is None:
            raise EvaluationError("nothing was synced yet: `pgfolio sync FOLDER` first")
        yield retriever
        return
    generation = await reading(retriever.pool, lambda c: find_generation(c, generation_id))
    if generation is None:
        raise EvaluationError(
            f"there is no generation {generation_id}: `pgfolio status` lists those that there are"
        )
    space = generation.space
    model = embedding_model(
        retriever.settings, space.provider, space.model, space.dimensions, shorten=space.shortened
    )
    with ThreadPoolExecutor(1) as thread:
        chosen = _OneSpace(ActiveSpace(generation, model, thread))
        yield Retriever(retriever.settings, retriever.pool, chosen, retriever.reranking)


async def _quality(retriever: Retriever, labelled: Sequence[Labelled], way: Way, limit: int) -> Quality:
    chunks = chunks_for(limit)

    def query(each: Labelled) -> Query:
        text = each.query.replace("\x00", " ")
        return Query(
            text,
            chunks,
            way.mode,
            fusion=way.fusion,
            vector_weight=way.vector_weight,
            ef_search=way.ef_search,
            rerank=way.rerank,
        )

    await retriever.retrieve(query(labelled[0]), None)  # a first query plans and warms up
    run, times = {}, []
    for number, each in enumerate(labelled):
        began = time.perf_counter()
        retrieved = await retriever.retrieve(query(each), None)
        times.append((time.perf_counter() - began) * 1000)
        if retrieved.trace.notes:
            raise ModelError(
                f"not every query was answered as asked, so nothing was measured: {retrieved.trace.notes[0]}"
            )
        ranked = list(dict.fromkeys(found.hit.path for found in retrieved.found))[:limit]
        run[str(number)] = {path: float(-rank) for rank, path in enumerate(ranked)}
    truth = {str(number): dict(each.relevant) for number, each in enumerate(labelled)}
    found = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10, R @ 10], truth, run)
    ndcg, mrr, recall = (round(float(found[measure]), 4) for measure in (nDCG @ 10, RR @ 10, R @ 10))
    p50, p95 = (round(float(np.percentile(times, part)), 2) for part in (50, 95))
    return Quality(ndcg, mrr, recall, len(labelled), p50, p95)
