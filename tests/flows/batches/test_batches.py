"""Texts that are handed in at half the price come back as vectors, are paid for once, and nothing waits for ever."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.batches.choice import MIN_TEXTS
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.reembedding.target import with_model
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.overview import overview
from tests.flows.batches.conftest import MODEL
from tests.flows.library import Library, counts

if TYPE_CHECKING:
    from tests.fakes.openai_server import FakeOpenAI

HALF_PRICE = 0.02 / 2 / 1_000_000
TEXTS = 26


def all_paid_once(server: FakeOpenAI, library: Library) -> bool:
    library.check()
    assert library.rows("select count(*) from retained_vectors") == [(0,)]
    assert library.rows("select count(*) from embedding_batch_texts") == [(0,)]
    return set(server.paid().values()) == {1}


def handed_in(library: Library) -> list[dict[str, Any]]:
    with connect(library.conninfo) as connection:
        listed: list[dict[str, Any]] = overview(connection, None)["batches"]
    return listed


def many_pages(library: Library) -> None:
    """More texts than are asked for at once where the setting is on."""
    letters = random.Random(7)
    words = ("".join(letters.choices("aeioulmnrst", k=4)) for _ in itertools.count())
    pages = (f"# Page {n}\n\n{' '.join(itertools.islice(words, 90))}.\n" for n in range(MIN_TEXTS + 9))
    library.write("longer.md", "\n\n".join(pages))


def with_setting(library: Library) -> None:
    embedding = library.settings.embedding.model_copy(update={"batch": True})
    library.settings = library.settings.model_copy(update={"embedding": embedding})


def test_a_first_sync_costs_half_the_price(metered: Library, openai_server: FakeOpenAI) -> None:
    planned = metered.sync(plan_only=True)
    assert planned.estimate is not None
    assert planned.as_json()["estimate"]["batch_cost_usd"] == planned.estimate.cost_usd / 2 > 0
    openai_server.batches.seconds = 0.2
    report = metered.sync(batch=True)
    assert (counts(report), report.status) == ({"added": 3}, "complete")
    assert all_paid_once(openai_server, metered)
    assert openai_server.answered == []
    assert openai_server.batches.steps.count("create") == 1
    assert report.tokens == openai_server.batches.tokens
    assert report.cost_usd == pytest.approx(report.tokens * HALF_PRICE)
    assert metered.rows("select tokens, cost_usd from runs") == [(report.tokens, round(report.cost_usd, 6))]
    batch = report.as_json()["batch"]
    assert (batch["texts"], batch["tokens"], batch["waiting"]) == (TEXTS, report.tokens, 0)
    (listed,) = handed_in(metered)
    assert (listed["state"], listed["texts"], listed["texts_done"]) == ("done", TEXTS, TEXTS)
    assert (listed["tokens"], listed["cost_usd"]) == (report.tokens, pytest.approx(report.cost_usd, abs=1e-6))
    again = metered.sync(batch=True)
    assert (counts(again), openai_server.batches.steps.count("create")) == ({"unchanged": 3}, 1)


@pytest.mark.parametrize(
    ("faults", "batches", "directly"),
    [
        ({"expires_after": 10}, 3, 0),
        ({"omit": "Moss"}, 2, 0),
        ({"cut_creates": 1, "cut_contents": 1}, 1, 0),
        ({"queue_tokens": 2000}, 4, 0),
        ({"queue_tokens": 2000, "names_limit": False}, None, 0),
        ({"busy_creates": 1}, 2, 0),
        ({"poison": "Moss"}, 1, 1),
    ],
    ids=["expired", "unanswered", "lost connections", "queue", "silent queue", "busy queue", "refused line"],
)
def test_whatever_becomes_of_a_batch_each_text_is_paid_for_once(
    metered: Library, openai_server: FakeOpenAI, faults: dict[str, Any], batches: int | None, directly: int
) -> None:
    openai_server.poison = faults.pop("poison", "")
    for name, value in faults.items():
        setattr(openai_server.batches, name, value)
    report = metered.sync(batch=True)
    if "omit" in faults:  # the server never answers it: nothing of it is paid, and its document waits
        assert (counts(report), report.status) == ({"added": 2}, "partial")
        openai_server.batches.omit = ""
        report = metered.sync(batch=True)
        assert counts(report) == {"added": 1, "unchanged": 2}
        assert len(openai_server.batches.batches) == batches + 1 if batches else False
    else:
        assert (counts(report), report.status) == ({"added": 3}, "complete"), report.problems
        assert batches in {len(openai_server.batches.batches), None}
    assert all_paid_once(openai_server, metered)
    assert len(openai_server.answered) == directly


def test_a_server_that_refuses_a_whole_batch_is_told_with_its_words(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    openai_server.batches.broken = "Your organization may not use batches."
    with pytest.raises(FailedError, match="refused a batch of 26 texts: Your organization may not"):
        metered.sync(batch=True)
    openai_server.batches.broken = ""
    assert metered.sync(batch=True).status == "complete"
    assert all_paid_once(openai_server, metered)


def test_the_allowed_cost_is_a_limit_before_anything_is_handed_in(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    report = metered.sync(batch=True, max_cost=2000 * HALF_PRICE)
    assert 0 < report.cost_usd <= 2000 * HALF_PRICE
    assert openai_server.batches.tokens == report.tokens <= 2000
    assert report.status == "partial"
    assert "allowed are spent" in report.problems[0].reason
    assert metered.sync(batch=True).status == "complete"
    assert all_paid_once(openai_server, metered)


def test_what_is_handed_in_is_nobody_elses_to_pay_for(metered: Library, openai_server: FakeOpenAI) -> None:
    """The setting hands in what is much and waits for nothing; a sync without it takes what is ready."""
    with_setting(metered)
    assert metered.sync().chunks.embedded == TEXTS  # few
    assert openai_server.batches.batches == {}
    many_pages(metered)
    metered.write("plain.md", "# Plain\n\nThis one stands alone.\n")
    openai_server.batches.seconds = 3600
    waiting = metered.sync()
    assert (waiting.status, counts(waiting)) == ("partial", {"unchanged": 3})
    assert "2 documents wait for vectors" in waiting.problems[0].reason
    assert waiting.as_json()["batch"]["waiting"] > MIN_TEXTS
    (listed,) = handed_in(metered)
    assert (listed["state"], listed["texts_done"]) == ("handed_in", 0)
    embedding = metered.settings.embedding.model_copy(update={"batch": False})
    metered.settings = metered.settings.model_copy(update={"embedding": embedding})
    metered.write("small.md", "# Small\n\nNothing of it was handed in.\n")
    between = metered.sync()
    assert (between.chunks.embedded, counts(between)) == (1, {"added": 1, "unchanged": 3})
    assert metered.sync(plan_only=True).tokens == 0  # paid for already
    openai_server.batches.seconds = 0
    done = metered.sync()
    assert (done.status, counts(done)) == ("complete", {"added": 2, "unchanged": 4})
    assert done.cost_usd == pytest.approx(done.tokens * HALF_PRICE)
    assert all_paid_once(openai_server, metered)


@pytest.mark.long
def test_who_cannot_wait_pays_twice_and_is_told(metered: Library, openai_server: FakeOpenAI) -> None:
    openai_server.batches.seconds = 3600
    many_pages(metered)
    with_setting(metered)
    metered.sync()
    report = metered.sync(batch=False)
    assert report.status == "complete"
    assert "texts are handed in to the Batch API: what is asked for of them is paid twice" in report.notes[0]
    metered.check()


def test_a_move_to_another_space_at_half_the_price(metered: Library, openai_server: FakeOpenAI) -> None:
    metered.sync()
    settings = with_model(metered.settings, "openai", "text-embedding-3-large", 64)
    plan = run_reembed(settings, metered.conninfo, Options(plan_only=True))
    assert plan.estimate is not None
    assert plan.estimate.batch_cost_usd == plan.estimate.cost_usd / 2 > 0
    paid = sum(openai_server.paid().values())
    openai_server.batches.expires_after, openai_server.batches.seconds = 10, 0.2
    report = run_reembed(settings, metered.conninfo, Options(batch=True))
    assert report.status == "complete", report.problems
    assert sum(openai_server.paid().values()) - paid == TEXTS == sum(openai_server.batches.paid.values())
    assert report.cost_usd == pytest.approx(openai_server.batches.tokens * 0.13 / 2 / 1e6)
    metered.check()
    assert [listed["space"] for listed in handed_in(metered)] == ["openai/text-embedding-3-large/64"] * 3
    assert MODEL != "text-embedding-3-large"


@pytest.mark.long
def test_a_move_that_does_not_wait_goes_on_later(metered: Library, openai_server: FakeOpenAI) -> None:
    many_pages(metered)
    metered.sync()
    with_setting(metered)
    settings = with_model(metered.settings, "openai", "text-embedding-3-large", 64)
    openai_server.batches.seconds = 3600
    report = run_reembed(settings, metered.conninfo, Options())
    assert (report.status, report.problems[0].stage) == ("partial", "embed")
    assert "--batch` waits for them" in report.problems[0].reason
    assert metered.rows(
        "select model from spaces s join generations g on g.space_id = s.id where state = 'active'"
    ) == [(MODEL,)]
    openai_server.batches.seconds = 0
    assert run_reembed(settings, metered.conninfo, Options()).status == "complete"
    assert set(openai_server.batches.paid.values()) == {1}
    metered.check()
