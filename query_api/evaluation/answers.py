"""`eval --answers`: what part of questions with known answers is answered right, through the same answerer as the
API, quoted and, where there is a chat model, generated side by side.

An answer is right where it has one of the accepted answers in it, as words of its own: "12" does not stand in "2012".
"""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

import msgspec
import numpy as np

from pgfolio.query_api.answering.answerer import Answerer
from pgfolio.query_api.evaluation.evaluate import EvaluationInputError, read_lines
from pgfolio.query_api.retrieval.query import Query, QuestionText
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.answering.records import Answer

Outcome = Literal["right", "wrong", "silent", "refused", "wrongly answered"]
"""Of a question with an answer the first three, of one without the others."""

EXPECTED: Final = '{"question": "...", "answers": ["...", ...]}, answers empty where the documents have none'

PASSAGES: Final = 5
"""That are looked at for an answer, as by default."""

_MARKS: Final = re.compile(r"[*_`|\\\s]+")


class AnsweredQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question with its accepted answers; none: the documents do not answer it. `path` of the document that does,
    and `sort`, are for who reads the file."""

    question: QuestionText
    answers: list[Annotated[str, msgspec.Meta(min_length=1, pattern=r"\S")]]
    path: str | None = None
    sort: str | None = None


class AnswerQuality(msgspec.Struct, frozen=True):
    """Shares: of questions with an answer those answered right, wrong and not at all; of those without one those
    answered. `citation_precision`: of the citations of right answers, those that are verified and have an accepted
    answer in their quote or are of the document named. `words` of an answer, the median."""

    right: float
    wrong: float
    silent: float
    wrongly_answered: float
    citation_precision: float
    questions: int
    without_answer: int
    words: float
    p50_ms: float
    p95_ms: float


class Judged(msgspec.Struct, frozen=True):
    """One question's answer."""

    question: str
    outcome: Outcome
    answer: str
    milliseconds: float
    supporting: int
    """Citations that hold what is accepted, of all `citations`."""
    citations: int
    sort: str | None = None


def read_answers(path: Path) -> list[AnsweredQuestion]:
    """The questions of a file, one JSON object a line. Raises EvaluationInputError."""
    questions = read_lines(path, AnsweredQuestion, EXPECTED)
    if not questions:
        raise EvaluationInputError(f"{path} has no question")
    return questions


def has_answer(text: str, accepted: Sequence[str]) -> bool:
    """Whether one of the accepted answers stands in the text, whatever its case, spaces and marks of emphasis."""
    plain = _plain(text)
    return any(re.search(rf"(?<!\w){re.escape(_plain(each))}(?!\w)", plain) for each in accepted)


def judge(question: AnsweredQuestion, answer: Answer, milliseconds: float) -> Judged:
    """Pure."""
    outcome: Outcome
    if not question.answers:
        outcome = "wrongly answered" if answer.answered else "refused"
    elif not answer.answered:
        outcome = "silent"
    else:
        outcome = "right" if has_answer(answer.text, question.answers) else "wrong"
    supporting = sum(
        cited.verified and (has_answer(cited.quote, question.answers) or cited.path == question.path)
        for cited in answer.citations
    )
    return Judged(
        question.question,
        outcome,
        answer.text,
        milliseconds,
        supporting,
        len(answer.citations),
        question.sort,
    )


def summary(judged: Sequence[Judged]) -> AnswerQuality:
    """Pure."""
    counts = {outcome: [each for each in judged if each.outcome == outcome] for outcome in get_args(Outcome)}
    answerable = sum(len(counts[outcome]) for outcome in ("right", "wrong", "silent"))
    without = len(judged) - answerable
    cited = sum(each.citations for each in counts["right"])
    p50, p95 = (round(float(np.percentile([each.milliseconds for each in judged], p)), 2) for p in (50, 95))
    words = [len(each.answer.split()) for each in judged if each.outcome in {"right", "wrong"}]
    return AnswerQuality(
        right=_share(len(counts["right"]), answerable),
        wrong=_share(len(counts["wrong"]), answerable),
        silent=_share(len(counts["silent"]), answerable),
        wrongly_answered=_share(len(counts["wrongly answered"]), without),
        citation_precision=_share(sum(each.supporting for each in counts["right"]), cited),
        questions=answerable,
        without_answer=without,
        words=float(np.median(words)) if words else 0.0,
        p50_ms=p50,
        p95_ms=p95,
    )


def evaluate_answers(
    settings: Settings, questions: Sequence[AnsweredQuestion], limit: int = PASSAGES
) -> dict[str, list[Judged]]:
    """Each question's answer, by who wrote it: quoted and, where a chat model is set, generated. `limit`: passages
    that are looked at. Raises EvaluationInputError, a ModelError, DatabaseError."""
    with database(settings, pooled=True) as conninfo:
        return asyncio.run(_judged(settings, conninfo, questions, limit))


async def _judged(
    settings: Settings, conninfo: str, questions: Sequence[AnsweredQuestion], limit: int
) -> dict[str, list[Judged]]:
    async with open_services(settings, conninfo) as services:
        if await services.retriever.spaces.current() is None:
            raise EvaluationInputError("nothing was synced yet: `pgfolio sync FOLDER` first")
        quoting = Answerer(services.retriever, None, services.answerer.prompts)
        try:
            judged = {"quoted": await _answered(quoting, questions, limit)}
        finally:
            await quoting.close()
        if services.answerer.generates:
            judged["generated"] = await _answered(services.answerer, questions, limit)
        return judged


async def _answered(answerer: Answerer, questions: Sequence[AnsweredQuestion], limit: int) -> list[Judged]:
    judged = []
    for each in questions:
        began = time.perf_counter()
        request = await answerer.retrieve(Query(each.question.replace("\x00", " "), limit), None)
        answer = await answerer.answer(request)
        judged.append(judge(each, answer, round((time.perf_counter() - began) * 1000, 3)))
    return judged


def _share(part: int, of: int) -> float:
    return round(part / of, 4) if of else 0.0


def _plain(text: str) -> str:
    return _MARKS.sub(" ", unicodedata.normalize("NFKC", text)).casefold().strip()
