"""The plan is a pure function of a crawl and the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.flows.discovery.listing import CrawlResult, Entry
from pgfolio.flows.discovery.plan import DeletionLimits, Plan, compare, decide, possible_moves, without
from pgfolio.schema.records import LedgerEntry, Problem, Signature

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NO_LIMITS = DeletionLimits(documents=10**9, fraction=1.0)


@dataclass(frozen=True)
class File:
    content: bytes
    stamp: int = 1

    @property
    def signature(self) -> Signature:
        return Signature(1, hash(self.content) % 1000, len(self.content), self.stamp, self.stamp)

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.content).digest()


def known(path: str, file: File, **changes: Any) -> LedgerEntry:
    entry = LedgerEntry(path, file.signature, file.hash, "fingerprint", "ok", 1, 3)
    return entry._replace(**changes)


def crawl_of(tree: dict[str, File]) -> CrawlResult:
    return CrawlResult(
        tuple(Entry(path, tree[path].signature) for path in sorted(tree)), devices=frozenset({1})
    )


def plan_of(
    tree: dict[str, File],
    ledger: dict[str, LedgerEntry],
    limits: DeletionLimits = NO_LIMITS,
    *,
    full: bool = False,
) -> Plan:
    comparison = compare(crawl_of(tree), ledger, processing_fingerprint="fingerprint", now=NOW, full=full)
    hashes = {entry.path: tree[entry.path].hash for entry in possible_moves(comparison)}
    return decide(comparison, hashes, limits)


def ledger_of(tree: dict[str, File]) -> dict[str, LedgerEntry]:
    return {path: known(path, file) for path, file in tree.items()}


def test_an_unknown_path_is_added() -> None:
    plan = plan_of({"a.md": File(b"one")}, {})
    assert [entry.path for entry in plan.added] == ["a.md"]


def test_a_file_with_the_same_stat_is_unchanged() -> None:
    tree = {"a.md": File(b"one")}
    assert plan_of(tree, ledger_of(tree)) == Plan(unchanged=1)


def test_a_file_with_another_stat_is_read_again() -> None:
    plan = plan_of({"a.md": File(b"one", stamp=2)}, ledger_of({"a.md": File(b"one")}))
    assert [file.entry.path for file in plan.changed] == ["a.md"]


def test_full_reads_every_file() -> None:
    tree = {"a.md": File(b"one")}
    assert plan_of(tree, ledger_of(tree), full=True).to_read == 1


def test_another_processing_fingerprint_makes_everything_anew() -> None:
    tree = {"a.md": File(b"one")}
    ledger = {"a.md": known("a.md", tree["a.md"], processing_fingerprint="older")}
    assert plan_of(tree, ledger).to_read == 1


def test_a_missing_file_is_removed() -> None:
    tree = {"a.md": File(b"one"), "b.md": File(b"two")}
    plan = plan_of({"a.md": tree["a.md"]}, ledger_of(tree))
    assert [entry.path for entry in plan.removed] == ["b.md"]


def test_a_renamed_file_is_moved() -> None:
    plan = plan_of({"b.md": File(b"one", stamp=2)}, ledger_of({"a.md": File(b"one")}))
    assert [(move.known.path, move.entry.path) for move in plan.moved] == [("a.md", "b.md")]
    assert (plan.added, plan.removed) == ((), ())


def test_a_moved_folder_keeps_its_file_names_together() -> None:
    same = File(b"the same text in two files")
    old = {"old/a.md": same, "old/b.md": same}
    plan = plan_of({"new/b.md": same, "new/a.md": same}, ledger_of(old))
    assert {(move.known.path, move.entry.path) for move in plan.moved} == {
        ("old/a.md", "new/a.md"),
        ("old/b.md", "new/b.md"),
    }


def test_a_copy_is_added_and_not_moved() -> None:
    tree = {"a.md": File(b"one"), "b.md": File(b"one")}
    plan = plan_of(tree, ledger_of({"a.md": File(b"one")}))
    assert ([entry.path for entry in plan.added], plan.moved) == (["b.md"], ())


def test_a_file_with_another_suffix_is_no_move() -> None:
    plan = plan_of({"a.txt": File(b"one")}, ledger_of({"a.md": File(b"one")}))
    assert (plan.moved, len(plan.added), len(plan.removed)) == ((), 1, 1)


def test_a_file_in_quarantine_waits_until_its_retry_is_due() -> None:
    tree = {"a.pdf": File(b"one")}
    failed = known("a.pdf", tree["a.pdf"], state="failed", retry_at=NOW + timedelta(minutes=1))
    assert plan_of(tree, {"a.pdf": failed}).quarantined == (failed,)


def test_a_file_in_quarantine_is_tried_again_when_due() -> None:
    tree = {"a.pdf": File(b"one")}
    failed = known("a.pdf", tree["a.pdf"], state="failed", retry_at=NOW - timedelta(minutes=1))
    assert plan_of(tree, {"a.pdf": failed}).to_read == 1


def test_documents_below_an_unreadable_folder_are_unknown_and_not_gone() -> None:
    ledger = ledger_of({"shut/a.md": File(b"one"), "b.md": File(b"two")})
    crawl = CrawlResult((Entry("b.md", File(b"two").signature),), unreadable_dirs=("shut/",))
    plan = decide(compare(crawl, ledger, processing_fingerprint="fingerprint", now=NOW), {}, NO_LIMITS)
    assert ([entry.path for entry in plan.unknown], plan.removed) == (["shut/a.md"], ())


def test_a_document_that_grew_too_large_is_kept() -> None:
    ledger = ledger_of({"a.md": File(b"one"), "b.md": File(b"two")})
    crawl = CrawlResult(
        (Entry("b.md", File(b"two").signature),), too_large=(Problem("a.md", "crawl", "too large"),)
    )
    plan = decide(compare(crawl, ledger, processing_fingerprint="fingerprint", now=NOW), {}, NO_LIMITS)
    assert ([entry.path for entry in plan.unknown], plan.removed) == (["a.md"], ())


@pytest.mark.parametrize(
    ("documents", "removals", "approved", "removed", "blocked"),
    [
        (100, 10, 0, 10, 0),  # not more than ten
        (200, 11, 0, 11, 0),  # more than ten, not more than a tenth
        (100, 11, 0, 0, 11),  # more than both
        (100, 11, 10, 0, 11),  # the approval is a ceiling
        (100, 11, 11, 11, 0),
        (3, 3, 0, 0, 3),  # a root that is suddenly empty
        (3, 3, 3, 3, 0),
    ],
)
def test_too_many_removals_are_blocked(
    documents: int, removals: int, approved: int, removed: int, blocked: int
) -> None:
    tree = {f"{n}.md": File(f"text {n}".encode()) for n in range(documents)}
    remaining = dict(list(tree.items())[removals:])
    plan = plan_of(remaining, ledger_of(tree), DeletionLimits(10, 0.10, approved))
    assert (len(plan.removed), len(plan.blocked_deletions)) == (removed, blocked)


def test_what_a_second_crawl_finds_is_not_removed() -> None:
    tree = {"a.md": File(b"one"), "b.md": File(b"two")}
    comparison = compare(crawl_of({}), ledger_of(tree), processing_fingerprint="fingerprint", now=NOW)
    plan = decide(without(comparison, {"a.md", "b.md"}), {}, NO_LIMITS)
    assert (plan.removed, len(plan.unknown)) == ((), 2)


paths = st.sampled_from(
    [f"{folder}{name}" for folder in ("", "x/", "y/") for name in ("a.md", "b.md", "c.txt")]
)
files = st.builds(File, st.sampled_from([b"", b"one", b"two", b"three", b"five5"]), st.integers(1, 3))
trees = st.dictionaries(paths, files, max_size=9)


@given(old=trees, new=trees)
def test_applying_the_plan_gives_the_new_tree(old: dict[str, File], new: dict[str, File]) -> None:
    plan = plan_of(new, ledger_of(old), DeletionLimits(0, 0.0, approved=10**9))
    state = {path: file.content for path, file in old.items()}
    for move in plan.moved:
        state[move.entry.path] = state.pop(move.known.path)
    for entry in (*plan.added, *(file.entry for file in plan.changed)):
        state[entry.path] = new[entry.path].content
    for gone in plan.removed:
        del state[gone.path]
    assert state == {path: file.content for path, file in new.items()}


@given(old=trees, new=trees)
def test_every_path_has_exactly_one_outcome(old: dict[str, File], new: dict[str, File]) -> None:
    plan = plan_of(new, ledger_of(old), DeletionLimits(0, 0.0))
    handled = plan.to_read + len(plan.moved) + plan.unchanged
    assert handled == len(new)
    assert len(plan.removed) + len(plan.blocked_deletions) + len(plan.moved) == len(set(old) - set(new))
