"""`python -m tests.bench.transformers MODEL SET` shows what a transformer in the process costs, against its bare ONNX
session on the same texts in the same run, and what it finds. SET is a folder with `docs/` and `queries.jsonl`."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import ir_measures
import numpy as np
import onnxruntime
from ir_measures import nDCG
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.config.models.transformer import transformer_model, transformer_space
from pgfolio.query_api.evaluation.evaluate import chunks_for, read_labelled
from pgfolio.query_api.retrieval.query import Mode, Query
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database
from tests.bench.place import SyncedFolder, timed
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.config.models.encoder import Encoder
    from pgfolio.config.models.transformer import TransformerModel
    from pgfolio.config.settings import Settings
    from pgfolio.query_api.evaluation.evaluate import LabelledQuery

OUT = Console(highlight=False)
LIMIT = 10
FLOOR_BATCHES = (1, 16)
"""Texts at once in the bare session: one has no padding, more share what a call costs. The faster counts."""
MODES: tuple[Mode, ...] = ("vector", "lexical", "hybrid")


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("labelled_set", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--texts", default=60, show_default=True, help="Of the set, for the speed.")
@click.option("--repeat", default=3, show_default=True)
@click.option(
    "--quality/--no-quality", default=True, show_default=True, help="Syncs the set with both models."
)
def main(*, model: Path, labelled_set: Path, texts: int, repeat: int, quality: bool) -> None:
    """Prints chunks a second and, unless it is left out, nDCG@10 and milliseconds of searches."""
    without_settings()
    opened = transformer_model(*transformer_space(str(model)))
    documents = sorted((labelled_set / "docs").iterdir())[:texts]
    _speed(opened, [file.read_text(errors="replace") for file in documents], repeat)
    labelled = read_labelled(labelled_set / "queries.jsonl")
    session = onnxruntime.InferenceSession(str(opened.encoder.files.weights))
    bare = [_milliseconds(_bare(session, opened.encoder, [each.query], 1)) for each in labelled]
    OUT.print(f"bare embedding of a question: p50 {np.median(bare):.1f} ms")
    for name in ("", str(model)) if quality else ():
        settings = load_settings(home=new_room() / "home", embedding={"model": name})
        settings.home.mkdir()
        with database(settings) as conninfo:
            seconds = SyncedFolder(settings, conninfo, labelled_set / "docs").sync()
            OUT.print(f"{name or 'bundled'}: synced in {seconds:.1f} s")
            asyncio.run(_search(settings, conninfo, labelled))


def _speed(model: TransformerModel, texts: Sequence[str], repeat: int) -> None:
    session = onnxruntime.InferenceSession(str(model.encoder.files.weights))
    floors = {size: _bare(session, model.encoder, texts, size) for size in FLOOR_BATCHES}
    ours = partial(model.embed, texts)
    ours()
    ratios = []
    for _ in range(repeat):
        floor = min(timed(work) for work in floors.values())
        seconds = timed(ours)
        ratios.append(floor / seconds)
        OUT.print(f"chunks a second: {len(texts) / seconds:.1f}, bare session {len(texts) / floor:.1f}")
    OUT.print(f"ratio, median of {repeat}: {np.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


def _bare(session: Any, encoder: Encoder, texts: Sequence[str], size: int) -> Callable[[], Any]:
    """The tokenizer and the session as their own manuals use them: batches in the order of the texts."""
    tokenizer = encoder._tokenizer
    names = [node.name for node in session.get_inputs()]

    def run() -> None:
        for start in range(0, len(texts), size):
            encodings = tokenizer.encode_batch(list(texts[start : start + size]))
            longest = max(map(len, encodings))
            rows = [
                [
                    [*values, *[0] * (longest - len(values))]
                    for values in (e.ids, e.attention_mask, e.type_ids)
                ]
                for e in encodings
            ]
            arrays = np.array(rows, dtype=np.int64).transpose(1, 0, 2)
            inputs = dict(zip(("input_ids", "attention_mask", "token_type_ids"), arrays, strict=True))
            session.run(None, {name: inputs[name] for name in names})

    return run


async def _search(settings: Settings, conninfo: str, labelled: Sequence[LabelledQuery]) -> None:
    truth = {str(number): dict(each.relevant) for number, each in enumerate(labelled)}
    by_mode: dict[str, np.ndarray] = {}
    for mode in MODES:
        run: dict[str, dict[str, float]] = {}
        times = []
        async with open_services(settings, conninfo) as services:  # which has no question's vector yet
            await services.retriever.retrieve(Query("a first one", LIMIT, mode), None)
            for number, each in enumerate(labelled):
                began = time.perf_counter()
                retrieved = await services.retriever.retrieve(
                    Query(each.query, chunks_for(LIMIT), mode), None
                )
                times.append((time.perf_counter() - began) * 1000)
                paths = list(dict.fromkeys(measured.hit.path for measured in retrieved.results))[:LIMIT]
                run[str(number)] = {path: float(-rank) for rank, path in enumerate(paths)}
        found = {m.query_id: float(m.value) for m in ir_measures.iter_calc([nDCG @ 10], truth, run)}
        by_mode[mode] = np.array([found.get(key, 0.0) for key in truth])
        OUT.print(f"  {mode}: nDCG@10 {by_mode[mode].mean():.4f}, p50 {np.median(times):.1f} ms")
    better = max(("vector", "lexical"), key=lambda mode: float(by_mode[mode].mean()))
    difference = by_mode["hybrid"] - by_mode[better]
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    OUT.print(f"  hybrid - {better}: {difference.mean():+.4f}, standard error {error:.4f}")


def _milliseconds(work: Callable[[], object]) -> float:
    return timed(work) * 1000


if __name__ == "__main__":
    main()
