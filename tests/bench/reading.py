"""`python -m tests.bench.reading FOLDER ...` reads every document below and counts its words against an independent
reading (flows/extraction/independent.py, or another program's: second_reading.py): what part of them was found, by
format, and the worst file of each.

`--old PYTHON` reads with the pgfolio of another environment as well, for a comparison.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from pgfolio.flows.extraction import formats
from pgfolio.flows.extraction.independent import independent_text
from tests.bench.second_reading import second_reading

ENOUGH = 0.97
"""Of a file's words: below it is marked incomplete."""

DISTINCT = frozenset({".ppt", ".pps", ".pot"})
"""Of these each word counts once: catppt repeats what earlier saves have left."""

_WORD = re.compile(r"\w+")
READ = """
import json, resource, sys
from pgfolio.flows.extraction.extract import extract
for path in sys.stdin:
    path = path.rstrip("\\n")
    try:
        said = {"text": extract(path, open(path, "rb").read()).text}
    except Exception as error:
        said = {"error": str(error)}
    print(json.dumps(said), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


class Count(NamedTuple):
    """Words of the independent reading, those of them that were read, and the file."""

    words: int
    read: int
    path: str

    @property
    def recall(self) -> float:
        return self.read / self.words if self.words else 1.0


def bag(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))


def counted(path: str, text: str, independent: str) -> Count:
    theirs = bag(independent)
    return Count(theirs.total(), (theirs & bag(text)).total(), path)


def read_all(python: str, paths: list[str]) -> tuple[list[dict[str, str]], float, int]:
    """What each file gave, the seconds, and the most memory that the process had, in MB."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-c", READ], input="\n".join(paths), text=True, stdout=subprocess.PIPE, check=False
    )
    lines = done.stdout.splitlines()
    peak = int(lines.pop()) if lines and lines[-1].isdigit() else 0
    said = [json.loads(line) for line in lines]
    said += [{"error": "the process died"}] * (len(paths) - len(said))
    return said, time.perf_counter() - began, peak


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--old", help="A Python whose pgfolio is compared.")
@click.option("--all", "show_all", is_flag=True, help="Name every file below the mark, and every error.")
def main(*, folders: tuple[Path, ...], old: str | None, show_all: bool) -> None:
    """Count the words that are read, by suffix."""
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    paths = [str(path) for path in files if formats.declared(path.name, path.read_bytes())[1]]
    independent = [_independent(path, Path(path).read_bytes()) for path in paths]
    console = Console(highlight=False, width=160)
    for python in [old, sys.executable] if old else [sys.executable]:
        said, seconds, peak = read_all(python, paths)
        _show(console, python, paths, said, independent, show_all=show_all)
        console.print(f"{len(paths)} files, {seconds:.1f} s, {peak} MB at most\n")


def _independent(path: str, data: bytes) -> str:
    kind = formats.declared(path, data)[1]
    return independent_text(kind, data) or second_reading(kind, path, data)


def _show(
    console: Console,
    python: str,
    paths: list[str],
    said: list[dict[str, str]],
    independent: list[str],
    *,
    show_all: bool,
) -> None:
    counts: dict[str, list[Count]] = defaultdict(list)
    failed: Counter[str] = Counter()
    for path, result, words in zip(paths, said, independent, strict=True):
        suffix = Path(path).suffix.lower()
        if "error" in result:
            failed[suffix] += 1
            if show_all:
                console.print(f"  {Path(path).name}: {result['error']}")
        pair = result.get("text", ""), words if "error" not in result else ""
        if suffix in DISTINCT:
            pair = " ".join(bag(pair[0])), " ".join(bag(pair[1]))
        counts[suffix].append(counted(path, *pair))
    table = Table(*"suffix files unreadable words recall incomplete worst".split(), title=python)  # noqa: SIM905
    for suffix, items in sorted(counts.items()):
        total, read = sum(item.words for item in items), sum(item.read for item in items)
        low = [item for item in items if item.recall < ENOUGH]
        worst = min(items, key=lambda item: item.recall)
        table.add_row(
            suffix,
            str(len(items)),
            str(failed[suffix]),
            str(total),
            f"{read / total:.2%}" if total else "-",
            str(len(low)),
            f"{Path(worst.path).name[:60]} {worst.recall:.1%}" if worst.words else "",
        )
        if show_all:
            for item in sorted(low, key=lambda item: item.recall):
                console.print(f"  {Path(item.path).name}: {item.read} of {item.words}")
    console.print(table)


if __name__ == "__main__":
    main()
