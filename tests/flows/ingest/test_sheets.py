"""A long sheet says in each of its chunks what its columns are."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flows.library import Library

HEADER = ["Berth", "Tide", "Harbour master"]


def rows(count: int) -> list[list[str]]:
    rng = random.Random(count)
    return [[str(rng.randint(1, 99_999)), f"{rng.random():.3f}", f"Master {n}"] for n in range(count)]


@pytest.mark.parametrize("name", ["tides.csv", "tides.tsv"])
def test_each_chunk_of_a_long_table_has_its_header(library: Library, name: str) -> None:
    mark = "," if name.endswith("csv") else "\t"
    library.write(name, "\n".join(mark.join(row) for row in [HEADER, *rows(400)]))
    assert library.sync().status == "complete"
    contents = [content for content, _ in library.stored()[name]]
    assert len(contents) > 10
    assert all("| Berth | Tide | Harbour master |\n| --- |" in content for content in contents)
    assert all(any(f"Master {n} |" in content for content in contents) for n in range(400))
    library.check()


def test_a_header_too_long_to_be_repeated_stands_once(library: Library) -> None:
    wide = [f"the column of number {n} and its longer name" for n in range(60)]
    library.write("wide.csv", "\n".join(",".join(row) for row in [wide, *[["7"] * 60] * 90]))
    library.sync()
    contents = [content for content, _ in library.stored()["wide.csv"]]
    assert len(contents) > 10
    assert (
        sum("number 59" in content for content in contents) <= 2
    )  # its own chunk, and what the next one repeats
