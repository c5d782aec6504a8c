"""The bench itself: it runs on a small folder and prints a ratio for each of its lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.corpus import write_markdown

ROOT = Path(__file__).resolve().parents[2]


def printed(module: str, *arguments: str) -> str:
    """What a bench prints as a process, which must succeed."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_every_measurement_has_a_ratio_to_each_of_its_floors(tmp_path: Path) -> None:
    write_markdown(tmp_path, files=20)
    options = ["--folder", os.fspath(tmp_path), "--files", "50", "--repeat", "1", "--json"]
    lines = json.loads(printed("tests.bench", *options))["lines"]
    assert [(line["name"].split(",")[0], line["floor"].split(",")[0]) for line in lines] == [
        ("no-op sync", "bare walk with stat"),
        ("5 of 50 files changed", "no-op sync"),
        ("store", "bare binary COPY"),
        ("first sync", "LocalModel on the same chunks"),
        ("first sync", "WordLlama.embed on the same chunks"),
        ("vector search over HTTP", "the same SQL by psycopg"),
        ("hybrid search over HTTP", "nearest by SQL"),
    ]
    assert min(line["ratio"] for line in lines) > 0


@pytest.mark.long
def test_fusion_is_measured_on_labelled_sets(tmp_path: Path) -> None:
    for name, word in (("zebras", "stripes"), ("oaks", "leaves")):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "a.md").write_text(f"The {name} have {word}, as everybody knows.\n")
        (tmp_path / name / "docs" / "b.md").write_text("Nothing of this is about rivers and the sea.\n")
        (tmp_path / name / "queries.jsonl").write_text(json.dumps({"query": word, "relevant": {"a.md": 1}}))
    sets = [os.fspath(tmp_path / name) for name in ("zebras", "oaks")]
    rows = [line.split() for line in printed("tests.bench.fusion", *sets).splitlines()[1:]]
    assert [row[0] for row in rows] == ["zebras", "oaks", "mean"]
    assert [row[-1] for row in rows] == ["+0.000"] * 3


@pytest.mark.long
def test_the_api_is_measured_under_many_clients() -> None:
    options = ["--files", "20", "--clients", "4", "--requests", "40"]
    found = json.loads(printed("tests.bench.concurrency", *options))
    busy = found["hybrid, 4 clients"]
    assert busy["codes"] == {"200": 40}
    assert min(busy[name]["p50_ms"] for name in ("live", "echo", "late")) > 0
    assert min(found["ratio"], found["floors, 4 clients"]["ratio"]) > 0


@pytest.mark.long
def test_recall_is_measured_with_stored_vectors_and_with_questions(tmp_path: Path) -> None:
    write_markdown(tmp_path, files=150)
    shown = printed("tests.bench.recall", "--rows", "1000", "--dimensions", "8", os.fspath(tmp_path))
    assert {"halfvec", "vector", "bit", "stored", "questions", "questions,"} <= set(shown.split())


@pytest.mark.long
def test_what_an_index_costs_is_measured_at_any_size() -> None:
    for module, options in (
        ("filters", ["--chunks", "1000"]),
        ("growth", ["--sizes", "500"]),
        ("indexing", ["--rows", "1000", "--dimensions", "8"]),
    ):
        assert len(printed(f"tests.bench.{module}", *options).splitlines()) > 3, module


@pytest.mark.long
def test_the_word_arm_is_measured_and_compared_with_an_exhaustive_one(tmp_path: Path) -> None:
    write_markdown(tmp_path, files=20)
    shown = printed("tests.bench.words", "--folder", os.fspath(tmp_path), "--repeat", "1")
    assert "both arms, from postings" in shown
    assert "postings: the first 10 of an exhaustive BM25 in 100.0%" in shown
