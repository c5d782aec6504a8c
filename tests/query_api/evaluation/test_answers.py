"""`python -m pgfolio.query_api eval --answers FILE`: what part of questions is answered right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pgfolio.query_api.evaluation.answers import has_answer
from tests.fakes.openai_server import KEY
from tests.query_api.cli.test_commands import run
from tests.query_api.library import BREAD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.openai_server import FakeOpenAI

QUESTIONS = (
    {"question": "how long is bread baked", "answers": ["minutes"], "path": BREAD.path, "sort": "measure"},
    {"question": "how long is bread baked?", "answers": ["nine weeks"]},
    {"question": "who won the chess championship of 1927", "answers": []},
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("text", "accepted", "has"),
    [
        ("It took **12 days**.", ["12 days"], True),
        ("In 2012 it rained.", ["12"], False),
        ("| Revenue | 3,776 |", ["revenue 3,776"], True),
        ("Nothing.", ["a", "b"], False),
    ],
)
def test_an_accepted_answer_stands_by_itself(text: str, accepted: list[str], *, has: bool) -> None:
    assert has_answer(text, accepted) is has


def test_answers_are_right_wrong_or_wrongly_there(library: str, file: str) -> None:
    done = run("eval", "--answers", file, "--json", "--all", PGFOLIO_DATABASE_URL=library)
    assert done.returncode == 0, done.stderr
    quoted = json.loads(done.stdout)["quoted"]
    assert [each["outcome"] for each in quoted["questions"]] == ["right", "wrong", "refused"]
    quality = quoted["quality"]
    assert (quality["right"], quality["wrong"], quality["silent"], quality["wrongly_answered"]) == (
        0.5,
        0.5,
        0,
        0,
    )
    assert (quality["questions"], quality["without_answer"], quality["citation_precision"]) == (2, 1, 1.0)


def test_generated_answers_stand_beside_quoted_ones(
    library: str, file: str, openai_server: FakeOpenAI
) -> None:
    values = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": openai_server.url,
        "PGFOLIO_CHAT__MODEL": "gpt-4o-mini",
    }
    done = run("eval", "--answers", file, PGFOLIO_DATABASE_URL=library, **values)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["answers", "quoted", "generated"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "why"}', "line 1"),
        ('{"question": "why", "answers": [""]}', "line 1"),
        ("", "has no question"),
    ],
)
def test_a_wrong_file_is_wrong_usage(library: str, tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(line)
    done = run("eval", "--answers", str(path), PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert run("eval", PGFOLIO_DATABASE_URL=library).returncode == 2
