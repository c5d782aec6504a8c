"""A plan says what a sync would do, embed and cost; the sync then does just that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.ingest.forecast import MAX_FILES_READ
from tests.flows.library import ANIMALS, PLANTS, Library, counts, long_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

PRICE = 2.0


@pytest.fixture
def metered(library: Library, new_settings: Callable[..., Settings], openai_server: FakeOpenAI) -> Library:
    """The library on a server that must be paid."""
    library.settings = new_settings(
        database_url=library.conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "text-embedding-3-small", "batch_inputs": 8},
        prices={"text-embedding-3-small": PRICE},
    )
    return library


def test_a_plan_names_each_document_with_what_becomes_of_it(library: Library) -> None:
    library.write("moved.md", "# Moved\n\nThis page moves.\n")
    library.write("gone.md", "# Gone\n\nThis page goes.\n")
    library.sync()
    (library.root / "moved.md").rename(library.root / "garden" / "elsewhere.md")
    (library.root / "gone.md").unlink()
    library.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    library.write("garden/plants.md", PLANTS)  # written again, with the same content
    library.write("new.md", "# New\n\nSomething new.\n")
    library.write("copy.md", PLANTS)
    library.write("bad.pdf", b"%PDF-1.4 nothing")
    report = library.sync(plan_only=True)
    assert report.plan is not None
    assert [(p["action"], p["path"]) for p in report.plan] == [
        ("change", "animals.md"),
        ("fail", "bad.pdf"),
        ("add", "copy.md"),
        ("move", "garden/elsewhere.md"),
        ("remove", "gone.md"),
        ("add", "new.md"),
    ]
    assert counts(report) == {
        "added": 2,
        "changed": 1,
        "moved": 1,
        "removed": 1,
        "unchanged": 1,
        "failed": 1,
    }
    assert {p["path"]: p.get("tokens") for p in report.plan}["copy.md"] == 0  # its text is there already
    done = library.sync()
    assert counts(done) == counts(report)
    assert done.tokens == report.tokens


def test_a_plan_tells_tokens_cost_and_time_and_sends_nothing(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    metered.write("long.md", long_document(20))
    report = metered.sync(plan_only=True)
    assert openai_server.requests == []
    assert report.tokens > 1000
    assert report.cost_usd == pytest.approx(report.tokens * PRICE / 1e6)
    assert report.estimate is not None
    assert (report.estimate.tokens, report.estimate.sampled) == (report.tokens, False)
    assert report.estimate.seconds > 0
    assert metered.rows("select count(*) from documents") == [(0,)]


def test_the_record_has_the_estimate_and_what_was_spent(metered: Library) -> None:
    metered.write("long.md", long_document(20))
    report = metered.sync()
    assert report.estimate is not None
    assert report.estimate.tokens == pytest.approx(report.tokens, rel=0.5)
    ((recorded,),) = metered.rows("select report from runs")
    assert recorded["estimate"]["tokens"] == report.estimate.tokens
    assert (recorded["tokens"], recorded["cost_usd"]) == (report.tokens, round(report.cost_usd, 6))


def test_the_allowed_cost_is_never_passed_and_what_is_done_is_kept(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    for n in range(40):
        metered.write(f"{n:02}.md", long_document(1 + n % 3) + f"\n\nPage {n}.\n")
    total = metered.sync(plan_only=True).cost_usd
    reports = [metered.sync(max_cost=total / 3)]
    assert (reports[0].status, reports[0].cost_usd <= total / 3) == ("partial", True)
    assert reports[0].documents.added > 0
    assert "wait" in reports[0].problems[0].reason
    metered.check()
    for _ in range(20):
        if reports[-1].status == "complete":
            break
        reports.append(metered.sync(max_cost=total / 3))
    assert reports[-1].status == "complete"
    texts = openai_server.embedded()
    assert len(texts) == len(set(texts))
    metered.check()


def test_what_costs_nothing_goes_on_when_the_allowed_cost_is_spent(metered: Library) -> None:
    metered.sync()
    metered.write("a-new.md", "# New\n\nThis text must be paid for.\n")
    metered.write("z-copy.md", ANIMALS)
    report = metered.sync(max_cost=0.0)
    assert (report.status, counts(report)) == ("partial", {"added": 1, "unchanged": 2})
    assert "z-copy.md" in metered.stored()


@pytest.mark.long
def test_of_many_files_a_plan_reads_some(library: Library) -> None:
    for n in range(MAX_FILES_READ + 100):
        library.write(f"{n:04}.md", f"# Page {n}\n\nThis is the page with the number {n}.\n")
    report = library.sync(plan_only=True)
    assert counts(report) == {"added": MAX_FILES_READ + 102}
    assert report.estimate is not None
    assert report.estimate.sampled
    assert report.tokens == pytest.approx(library.sync().tokens, rel=0.1)


def test_a_text_that_stands_in_two_new_files_is_planned_to_be_paid_once(library: Library) -> None:
    library.write("copy/animals.md", ANIMALS)
    planned = library.sync(plan_only=True).plan or []
    tokens = {document["path"]: document["tokens"] for document in planned}
    assert (tokens["animals.md"] > 0, tokens["copy/animals.md"]) == (True, 0)
    assert sum(tokens.values()) == library.sync().tokens
