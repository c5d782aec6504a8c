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
from typing import TYPE_CHECKING, Annotated, TypeVar

import ir_measures
import msgspec
import numpy as np
from ir_measures import RR, R, nDCG

from pgfolio.config.models.protocols import ModelError
from pgfolio.query_api.retrieval.query import Mode, Query, QuestionText
from pgfolio.query_api.retrieval.query_embedding import ActiveSpace, load_model
from pgfolio.query_api.retrieval.retriever import Retriever
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database
from pgfolio.schema.search.catalog import unknown_paths
from pgfolio.schema.search.pool import in_snapshot
from pgfolio.schema.search.vector import find_generation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.query_api.services import Services

LOG = logging.getLogger("query_api")
CHUNKS_PER_DOCUMENT = 10
"""Chunks that are retrieved for each document of the limit, up to the API's own maximum."""

MAX_CHUNKS = 100

LABELLED = '{"query": "...", "relevant": {"path": grade}}, a grade a whole number from 0 to 1000'

Line = TypeVar("Line", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to retrieve that is measured; None: as the settings say, of the active generation."""

    mode: Mode
    fusion: Fusion | None = None
    ef_search: int | None = None
    rerank: bool = False
    vector_weight: float | None = None
    generation: int | None = None


VARIANTS = (Variant("vector"), Variant("lexical"), Variant("hybrid", "scores"), Variant("hybrid", "rrf"))
"""What is measured side by side unless one is named."""


def combine_settings(
    variants: Sequence[Variant],
    ef_searches: Sequence[int],
    generations: Sequence[int],
    weights: Sequence[float],
    *,
    rerank: bool,
) -> list[Variant]:
    """Each way with each of the settings, in that order; by words alone there is no ef_search, and one generation
    serves for all; weights are of fusing scores."""
    ef_search_values: list[int | None] = [*dict.fromkeys(ef_searches)] or [None]
    spaces: list[int | None] = [*dict.fromkeys(generations)] or [None]
    shares: list[float | None] = [*dict.fromkeys(weights)] or [None]
    combined = []
    for variant in variants:
        is_lexical = variant.mode == "lexical"
        is_score_fusion = variant.mode == "hybrid" and variant.fusion != "rrf"
        settings = product(
            spaces[:1] if is_lexical else spaces,
            [None] if is_lexical else ef_search_values,
            shares if is_score_fusion else [None],
            [False, True] if rerank else [False],
        )
        combined += [
            replace(variant, generation=g, ef_search=e, vector_weight=w, rerank=r) for g, e, w, r in settings
        ]
    return combined


def by_name(variants: Sequence[Variant]) -> dict[str, Variant]:
    """By what they are; a setting stands in the names where it makes a difference."""
    ef_search_values = {variant.ef_search for variant in variants if variant.mode != "lexical"}
    spaces = {variant.generation for variant in variants}

    def name(variant: Variant) -> str:
        parts = [
            f"{variant.mode} ({variant.fusion})" if variant.fusion else variant.mode,
            "" if variant.vector_weight is None else f"vector_weight {variant.vector_weight:g}",
            f"ef_search {variant.ef_search}" if variant.ef_search and len(ef_search_values) > 1 else "",
            "reranked" if variant.rerank else "",
            f"generation {variant.generation}" if len(spaces) > 1 else "",
        ]
        return ", ".join(filter(None, parts))

    return {name(variant): variant for variant in variants}


class EvaluationInputError(Exception):
    """Labelled queries that cannot be evaluated; the message says which line, or what is missing."""


class LabelledQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query with the grades of its relevant documents by path; what is not named counts 0. A measure's time grows
    with the grade: 70 s for 3e9."""

    query: QuestionText
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
class _FixedSpace:
    """A space that does not follow the active one."""

    space: ActiveSpace

    async def current(self) -> ActiveSpace | None:
        return self.space

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        return seen


def read_lines(path: Path, kind: type[Line], expected: str) -> list[Line]:
    """The objects of a file, one JSON object a line. Raises EvaluationInputError, which says what is `expected`."""
    read = []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    read.append(msgspec.json.decode(line, type=kind))
                except msgspec.DecodeError as error:
                    raise EvaluationInputError(
                        f"{path}, line {number}: {error}; a line is {expected}"
                    ) from error
    return read


def read_labelled(path: Path) -> list[LabelledQuery]:
    """The queries of a file, one JSON object a line; one without a relevant document measures nothing and is left
    out. Raises EvaluationInputError."""
    queries = read_lines(path, LabelledQuery, LABELLED)
    measured = [each for each in queries if any(grade > 0 for grade in each.relevant.values())]
    if not measured:
        raise EvaluationInputError(f"{path} has no query with a relevant document")
    return measured


def chunks_for(limit: int) -> int:
    """The limit of chunks that makes `limit` documents."""
    return min(limit * CHUNKS_PER_DOCUMENT, MAX_CHUNKS)


def evaluate(
    settings: Settings,
    labelled: Sequence[LabelledQuery],
    variants: Sequence[Variant],
    limit: int,
) -> dict[str, Quality]:
    """The quality of each way, by its name. Raises EvaluationError, ModelError and what retrieving raises."""
    with database(settings, pooled=True) as conninfo:
        return asyncio.run(_measure_variants(settings, conninfo, labelled, variants, limit))


async def _measure_variants(
    settings: Settings,
    conninfo: str,
    labelled: Sequence[LabelledQuery],
    variants: Sequence[Variant],
    limit: int,
) -> dict[str, Quality]:
    qualities = {}
    async with AsyncExitStack() as opened:
        services = await opened.enter_async_context(open_services(settings, conninfo))
        if any(variant.rerank for variant in variants) and not services.retriever.reranks:
            raise EvaluationInputError("no reranker is set: PGFOLIO_RERANK__URL names one")
        spaces = {
            number: await opened.enter_async_context(_retriever(services, number))
            for number in {variant.generation for variant in variants}
        }  # each embeds a question once for all ways
        await _check_paths(services.retriever, labelled)
        for name, variant in by_name(variants).items():
            qualities[name] = await _measure(spaces[variant.generation], labelled, variant, limit)
    return qualities


async def _check_paths(retriever: Retriever, labelled: Sequence[LabelledQuery]) -> None:
    """What is not stored can't be found: said before numbers are made of it. Raises EvaluationError if nothing is."""
    paths = sorted({path for each in labelled for path, grade in each.relevant.items() if grade > 0})
    unknown = await in_snapshot(retriever.pool, partial(unknown_paths, paths=paths, permitted=None))
    if not unknown:
        return
    such = f"{len(unknown)} of {len(paths)} relevant documents are not stored, such as {unknown[0]!r}"
    if len(unknown) == len(paths):
        raise EvaluationInputError(
            f"{such}: a path is relative to its source's folder, as GET /documents shows it"
        )
    LOG.warning("%s: they count as not found", such)


@asynccontextmanager
async def _retriever(services: Services, generation_id: int | None) -> AsyncIterator[Retriever]:
    retriever = services.retriever
    if generation_id is None:
        if await retriever.spaces.current() is None:
            raise EvaluationInputError("nothing was synced yet: `pgfolio sync FOLDER` first")
        yield retriever
        return
    generation = await in_snapshot(retriever.pool, lambda c: find_generation(c, generation_id))
    if generation is None:
        raise EvaluationInputError(
            f"there is no generation {generation_id}: `pgfolio status` lists those that there are"
        )
    with ThreadPoolExecutor(1) as threads:
        model = load_model(retriever.settings, generation.space, threads)
        fixed_space = _FixedSpace(ActiveSpace(generation, model))
        yield Retriever(retriever.settings, retriever.pool, fixed_space, retriever.reranking)


async def _measure(
    retriever: Retriever, labelled: Sequence[LabelledQuery], variant: Variant, limit: int
) -> Quality:
    chunks = chunks_for(limit)

    def query(each: LabelledQuery) -> Query:
        text = each.query.replace("\x00", " ")
        return Query(
            text,
            chunks,
            variant.mode,
            fusion=variant.fusion,
            vector_weight=variant.vector_weight,
            ef_search=variant.ef_search,
            rerank=variant.rerank,
            max_per_document=None,  # documents are ranked
        )

    await retriever.retrieve(query(labelled[0]), None)  # a first query plans and warms up
    run, times = {}, []
    for number, each in enumerate(labelled):
        began = time.perf_counter()
        retrieved = await retriever.retrieve(query(each), None)
        times.append((time.perf_counter() - began) * 1000)
        if len(retrieved.trace.notes) > len(retrieved.trace.corrections):
            raise ModelError(
                f"not every query was answered as asked, so nothing was measured: {retrieved.trace.notes[0]}"
            )
        ranked = list(dict.fromkeys(measures.hit.path for measures in retrieved.results))[:limit]
        run[str(number)] = {path: float(-rank) for rank, path in enumerate(ranked)}
    truth = {str(number): dict(each.relevant) for number, each in enumerate(labelled)}
    measures = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10, R @ 10], truth, run)
    ndcg, mrr, recall = (round(float(measures[measure]), 4) for measure in (nDCG @ 10, RR @ 10, R @ 10))
    p50, p95 = (round(float(np.percentile(times, part)), 2) for part in (50, 95))
    return Quality(ndcg=ndcg, mrr=mrr, recall=recall, queries=len(labelled), p50_ms=p50, p95_ms=p95)
