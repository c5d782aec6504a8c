"""How results were found, as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pgfolio.config.terminal import Terminal

if TYPE_CHECKING:
    from pgfolio.query_api.explain.records import Explanation, Ranked, TracedCandidate, Why

OUT = Terminal()
MAX_TABLE_CANDIDATES = 20
"""Candidates in the table; `--json` has them all."""


def show_explanation(explained: Explanation) -> None:
    """The settings in force, then each candidate with its rank and score in each arm."""
    settings = {
        name: value
        for name, value in explained.settings.items()
        if value not in (None, False, 0) or name in {"vector_share", "vector_weight"}
    }
    OUT.print()
    OUT.print(
        f"[bold]{explained.mode}[/] search in {escape(str(explained.space))}; vectors: {explained.searched}"
    )
    OUT.print(escape(", ".join(f"{name} {value}" for name, value in settings.items())))
    OUT.print(escape(", ".join(f"{name} {took:.1f} ms" for name, took in explained.milliseconds.items())))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("place", "chunk", "vector", "words", "exact", "fused", "reranked"):
        table.add_column(heading, justify="right")
    table.add_column("where")
    for candidate in explained.candidates[:MAX_TABLE_CANDIDATES]:
        table.add_row(
            str(candidate.place or ""),
            str(candidate.chunk_id),
            _ranked(candidate.vector),
            _ranked(candidate.words),
            f"{candidate.exact:.2f}" if candidate.exact else "",
            _ranked(candidate.fused),
            _ranked(candidate.reranked),
            escape(_where(candidate)),
        )
    OUT.print(table)
    if explained.candidates_in_all > MAX_TABLE_CANDIDATES:
        OUT.print(f"... of {explained.candidates_in_all} candidates: `--json` shows them all")


def show_why(why: Why) -> None:
    """Why a document is not among the results."""
    OUT.print()
    OUT.print(f"[bold]{escape(why.document)}[/]: {escape(why.reason)}")
    for name, its, least in (
        ("similarity", why.similarity, why.least_similarity),
        ("score by words", why.words, why.least_words),
    ):
        if its is not None:
            beside = f"; the last candidate has {least:.3f}" if least is not None else ""
            OUT.print(f"  {name} of its best chunk: {its:.3f}{beside}")


def _ranked(ranked: Ranked | None) -> str:
    return "" if ranked is None else f"{ranked.rank}. {ranked.score:.3f}"


def _where(candidate: TracedCandidate) -> str:
    dropped = (
        f" ({candidate.dropped})" if candidate.dropped and candidate.dropped != "beyond the limit" else ""
    )
    return f"{candidate.path}{dropped}"
