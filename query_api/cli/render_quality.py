"""What `eval` measured, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pgfolio.config.terminal import Terminal, printable
from pgfolio.query_api.cli.render import print_json, short
from pgfolio.query_api.evaluation.answers import summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.query_api.evaluation.answers import Judged
    from pgfolio.query_api.evaluation.evaluate import Quality

OUT = Terminal()


def show_quality(qualities: Mapping[str, Quality], *, as_json: bool) -> None:
    """A row for each way of retrieving; as JSON the one way's object, or an object of them by name."""
    if as_json:
        one = next(iter(qualities.values()))
        print_json(one if len(qualities) == 1 else dict(qualities))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("mode")
    for heading in ("nDCG@10", "MRR@10", "recall@10", "queries", "p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for name, quality in qualities.items():
        shares = [f"{share:.3f}" for share in (quality.ndcg, quality.mrr, quality.recall)]
        times = [f"{quality.p50_ms:.1f}", f"{quality.p95_ms:.1f}"]
        table.add_row(name, *shares, f"{quality.queries:,}", *times)
    OUT.print(table)


def show_answer_quality(judged: Mapping[str, Sequence[Judged]], *, each: bool, as_json: bool) -> None:
    """A row for each who wrote answers; with `each` first what became of every question."""
    qualities = {name: summary(answers) for name, answers in judged.items()}
    if as_json:
        questions = {name: {"quality": qualities[name], "questions": judged[name]} for name in judged}
        print_json(questions if each else dict(qualities))
        return
    if each:
        for name, answers in judged.items():
            for one in answers:
                OUT.print(Text(printable(f"{name}, {one.outcome}: {one.question}\n    {short(one.answer)}")))
    table = Table(box=None, pad_edge=False)
    table.add_column("answers")
    for heading in (
        "right",
        "wrong",
        "silent",
        "of",
        "wrongly",
        "of",
        "citations",
        "words",
        "p50 ms",
    ):
        table.add_column(heading, justify="right")
    for name, quality in qualities.items():
        table.add_row(
            name, *(f"{share:.1%}" for share in (quality.right, quality.wrong, quality.silent)),
            f"{quality.questions:,}", f"{quality.wrongly_answered:.1%}", f"{quality.without_answer:,}",
            f"{quality.citation_precision:.1%}", f"{quality.words:.0f}", f"{quality.p50_ms:.1f}",
        )  # fmt: skip
    OUT.print(table)
