"""One word for one thing: names that meant something to nobody but us, or two things, do not come back.

A newcomer looks for the field's word: `ef_search`, `idf`, `batch`, `processing_fingerprint`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_architecture import ROOT, source_files

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = {
    "ef_search, scan_limit": "far looks looked",
    "k, candidate_count": "wanted depth",
    "in_vector_arm, bm25, max_bm25, exact_match": "near whole",
    "filtered, reported, cached, retained": "within shown told kept asked most",
    "processing_fingerprint": "recipe",
    "batch, work item, unchanged_content, deferred": "parcel parcels todo touched",
    "to_verify, blocked_deletions, unmounted": "suspects suspect held detached",
    "rate_limit, pause, apply_retry_after, refund, analyze, mark_settled": "pace hold heed settle",
    "retry policy, bisect, rejected input": "patience guilty refusal",
    "index maintenance, index build, evaluation queries": "steward building",
    "accounting, backfill, vector supply, sources": "tally fill choose chosen",
    "document metadata, reader, extraction worker, chunk boundaries": "described isolate cut",
    "near-duplicates, idf, vocabulary coverage, prefix match, prefix terms, prefix stems": (
        "repeats rarities familiar loose beginnings endings"
    ),
    "bundled Postgres, embedded chunk": "embeddederror",
    "push_inbox, push_queue": "inbox pushes",
    "repair, unresolved, fault scenario": "mend mends troubles mood moods",
    "PrefectProgress, NullProgress": "published quiet",
    "the thing that it holds": "found",
}
"""The words that they were, by the words that they are."""

ALLOWED = {
    "held",  # a field of the report, and so of the command's JSON
    "found",  # a field of a finding, and so of the command's JSON
    "asked_at",  # a column of traces, and so of the HTTP answer
    "keep_most",  # a setting
    "refusal",  # a field of prompts, and of the OpenAI API
    "is_refusal", "may_become_refusal",  # what a chat model says that refuses
    "depth", "MAX_DEPTH",  # of nesting in what a client sends
    "mark_settled", "_mark_settled",  # the ledger's word, and right
    "push_inbox", "pushes", "survey_pushes",  # the tables' words
    "QUIET",  # the environment that keeps Prefect quiet
    "published_failure", "_failure_shown",  # of an embedding that others wait for
    "near_duplicate_of", "near_duplicates", "_is_near_duplicate",
    "_within_limit",
    "fill_rect",  # pypdfium2's
    "ObjectNotFound",  # Prefect's
    "most_common",  # the standard library's
    "NotFoundError", "NotFoundException", "PackageNotFoundError", "FileNotFoundError",
    "RepositoryNotFoundError", "LocalEntryNotFoundError",
    "repeats",  # a field of search results, and so of the HTTP answer
}  # fmt: skip
"""Names that are promises, other libraries' or right as they are."""


def names(file: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def words(name: str) -> set[str]:
    return {name.casefold(), *(part.casefold() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))}


@pytest.mark.parametrize("file", source_files())
def test_names_are_the_fields(file: str) -> None:
    private = {word for line in PRIVATE.values() for word in line.split()}
    assert {name for name in names(file) if words(name) & private} - ALLOWED == set()


def test_modules_have_the_fields_names() -> None:
    private = {word for line in PRIVATE.values() for word in line.split()}
    stems = {Path(file).stem for file in source_files()}
    assert {stem for stem in stems if words(stem) & private} - ALLOWED == set()
