"""`python -m pgfolio.query_api serve|search|ask|mcp|eval`: what `pgfolio` starts as a process for these commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from pgfolio.config import command, terminal
from pgfolio.config.loading import load_settings
from pgfolio.config.prompts import DEFAULT
from pgfolio.query_api.cli.assistants import mcp
from pgfolio.query_api.retrieval.filter_parser import parse_json
from pgfolio.query_api.retrieval.fusion import Fusion
from pgfolio.query_api.retrieval.query import (
    MAX_PER_DOCUMENT,
    MAX_QUESTION_CHARACTERS,
    Mode,
    Query,
    QuestionText,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def retrieval(asking: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both `search` and `ask`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
        click.option("--min-similarity", type=command.Number(-1, 1), help="Leave out what is less similar."),
        click.option(
            "--collection", "collections", multiple=True, help="Only within this one; may be repeated."
        ),
        click.option(
            "--filter", "filter_json", metavar="JSON", help='As in the API: \'{"category": "database"}\'.'
        ),
        click.option("--rerank", is_flag=True, help="Let the reranker order the best once more."),
        click.option(
            "--neighbors",
            type=click.IntRange(0, 10),
            default=0,
            help="Chunks before and after each result that belong to its passage.",
        ),
        click.option(
            "--max-per-document",
            type=click.IntRange(1, 100),
            default=MAX_PER_DOCUMENT,
            show_default=True,
            help="Results of one document at most.",
        ),
        click.option("--exact-words", is_flag=True, help="Do not correct words that no document has."),
        click.option("--mode", type=click.Choice(get_args(Mode)), default="hybrid", show_default=True),
        click.option(
            "--limit", type=click.IntRange(1, 100), default=5, show_default=True, help="Chunks to find."
        ),
    ):
        asking = option(asking)
    return asking


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """The query side: search and answers over what is stored."""


cli.add_command(mcp)


@cli.command()
@click.argument("query")
@click.option("--exact", is_flag=True, help="Compare every vector, without the index.")
@click.option("--explain", is_flag=True, help="Show how the results were found.")
@click.option("--why", metavar="PATH", help="Why is this document not among the results?")
@retrieval
def search(*, query: str, exact: bool, explain: bool, why: str | None, as_json: bool, **options: Any) -> None:
    """Search, as the API does, in the terminal."""
    from pgfolio.query_api.cli import render  # noqa: PLC0415

    parsed = _query(query, exact=exact, **options)
    _decoded(why or "")
    render.search(load_settings(), parsed, explain=explain, document=why, as_json=as_json)


@cli.command()
@click.argument("question")
@click.option("--prompt", default=DEFAULT, show_default=True, help="A prompt of config/prompts.yaml.")
@retrieval
def ask(*, question: str, prompt: str, as_json: bool, **options: Any) -> None:
    """Ask a question, answered from the documents."""
    from pgfolio.query_api.cli import render  # noqa: PLC0415

    render.ask(load_settings(), _query(question, **options), prompt, as_json=as_json)


@cli.command()
@click.option("--host", help="Where to listen; PGFOLIO_API__HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one; PGFOLIO_API__PORT.")
@click.option("--workers", type=click.IntRange(1), help="Processes; PGFOLIO_API__WORKERS.")
def serve(*, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the HTTP API alone."""
    from pgfolio.query_api.service import server  # noqa: PLC0415

    settings = load_settings()
    api = settings.api
    server.serve(
        settings,
        host or api.host,
        api.port if port is None else port,
        workers or api.workers,
        lambda url: terminal.ERR.print(f"listening on {url}, its OpenAPI is {url}/schema"),
    )


@cli.command("eval")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--answers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Questions with their answers: {"question": "...", "answers": ["...", ...]}, none where there is none.',
)
@click.option(
    "--make",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Print so many labelled queries made from the corpus' own titles, headings and sentences.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option(
    "--mode", type=click.Choice(get_args(Mode)), help="One mode.  [default: all; with --json hybrid]"
)
@click.option(
    "--fusion",
    type=click.Choice(get_args(Fusion)),
    help="How hybrid is fused.  [default: both beside each other]",
)
@click.option(
    "--ef-search",
    "ef_searches",
    type=click.IntRange(1, 1000),
    multiple=True,
    help="How far HNSW looks, beyond what is asked for; several are set side by side.  [default: as tuned]",
)
@click.option(
    "--vector-weight",
    "weights",
    type=command.Number(0, 100),
    multiple=True,
    help="Of hybrid: vectors count so many times as much; several are set side by side.  [default: 1]",
)
@click.option("--rerank", is_flag=True, help="Each without and with the reranker.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="With --json: all, as an object by name; with --answers each question.",
)
@click.option(
    "--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Documents to rank."
)
@click.option(
    "--generation",
    "generations",
    type=int,
    multiple=True,
    help="Evaluate this generation's vectors; several are set side by side.  [default: the active one]",
)
def evaluate(
    *,
    file: Path | None,
    answers: Path | None,
    make: int | None,
    as_json: bool,
    mode: Mode | None,
    fusion: Fusion | None,
    ef_searches: tuple[int, ...],
    weights: tuple[float, ...],
    rerank: bool,
    every: bool,
    limit: int,
    generations: tuple[int, ...],
) -> None:
    """Measure retrieval on labelled queries, modes and settings side by side: nDCG@10, MRR@10, recall@10, latency.

    FILE has a JSON object a line: {"query": "...", "relevant": {"path": grade}}, grades from 0 to 1000. With
    --answers in its place: what part of questions is answered right, quoted and by the chat model. Without any of
    your own, --make makes some: `pgfolio eval --make 200 > queries.jsonl`.
    """
    from pgfolio.query_api.cli import render_quality  # noqa: PLC0415
    from pgfolio.query_api.evaluation import evaluate as evaluation  # noqa: PLC0415

    if make is not None and file is None and answers is None:
        _make_queries(make)
        return
    if answers is not None and file is None and make is None:
        _evaluate_answers(answers, as_json=as_json, every=every)
        return
    if file is None or answers is not None or make is not None:
        raise click.UsageError("name one: FILE of labelled queries, --answers FILE, or --make N")
    if fusion and mode not in (None, "hybrid"):
        raise click.UsageError("--fusion is of hybrid only")
    variants: Sequence[evaluation.Variant] = evaluation.VARIANTS
    if mode or fusion or (as_json and not every):
        variants = [evaluation.Variant(mode or "hybrid", fusion)]
    chunk_count = evaluation.chunks_for(limit)
    if any(number <= chunk_count for number in ef_searches):
        raise click.UsageError(
            f"--ef-search up to {chunk_count} changes nothing: HNSW looks for the {chunk_count} chunks that "
            f"--limit {limit} takes"
        )
    try:
        labelled = evaluation.read_labelled(file)
        variants = evaluation.combine_settings(variants, ef_searches, generations, weights, rerank=rerank)
        qualities = evaluation.evaluate(load_settings(), labelled, variants, limit)
    except evaluation.EvaluationInputError as error:
        raise click.UsageError(terminal.printable(str(error))) from error
    render_quality.show_quality(qualities, as_json=as_json)


def _make_queries(count: int) -> None:
    from pgfolio.query_api.evaluation.evaluate import EvaluationInputError  # noqa: PLC0415
    from pgfolio.query_api.evaluation.made_queries import make_queries  # noqa: PLC0415

    try:
        made = make_queries(load_settings(), count)
    except EvaluationInputError as error:
        raise click.UsageError(terminal.printable(str(error))) from error
    for query in made:
        click.echo(terminal.printable_json(msgspec.json.encode(query).decode()))


def _evaluate_answers(file: Path, *, as_json: bool, every: bool) -> None:
    from pgfolio.query_api.cli import render_quality  # noqa: PLC0415
    from pgfolio.query_api.evaluation import answers as evaluation  # noqa: PLC0415
    from pgfolio.query_api.evaluation.evaluate import EvaluationInputError  # noqa: PLC0415

    try:
        judged = evaluation.evaluate_answers(load_settings(), evaluation.read_answers(file))
    except EvaluationInputError as error:
        raise click.UsageError(terminal.printable(str(error))) from error
    render_quality.show_answer_quality(judged, each=every, as_json=as_json)


def _query(
    text: str, *, collections: tuple[str, ...], filter_json: str | None, exact: bool = False, **options: Any
) -> Query:
    """The bounds are the API's."""
    try:
        msgspec.convert(text, QuestionText)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"a question has 1 to {MAX_QUESTION_CHARACTERS:,} characters") from error
    _decoded(text)
    condition = None if filter_json is None else parse_json(filter_json)
    return Query(
        text.replace("\x00", " "),
        collections=collections or None,
        condition=condition,
        exact=exact,
        **options,
    )


def _decoded(text: str) -> None:
    if any(map(_is_half, text)):
        raise click.UsageError(
            "the question is not in the terminal's encoding: set LC_ALL, to C.UTF-8 for one"
        )


def _is_half(character: str) -> bool:
    """Half of a surrogate pair, which is what Python makes of bytes that it cannot decode."""
    return "\ud800" <= character <= "\udfff"


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 wrong usage."""
    command.run(cli)
