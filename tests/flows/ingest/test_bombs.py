"""Files that are made to break their readers cost themselves alone: whatever they do, the sync ends, they are read or
listed with a reason, and what lies beside them is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.bombs import bombs
from tests.flows.library import counts

if TYPE_CHECKING:
    from tests.flows.library import Library


def test_metadata_is_bounded_and_says_what_it_lacks(library: Library) -> None:
    library.write(
        "long.md", f"---\ncategory: sea\nblob: {'x' * 200_000}\nauthor: {'y' * 70_000}\n---\n\nTides.\n"
    )
    library.write(
        "many.md", "---\n" + "".join(f"{'k' * 400}{n}: {n}\n" for n in range(900)) + "---\n\nTides.\n"
    )
    assert library.sync().status == "complete"
    long, many = library.rows(
        "select metadata, pg_column_size(metadata::text), length(owner) from documents where path ~ '^(long|many)' "
        "order by path"
    )
    assert long == ({"category": "sea", "metadata_left_out": ["blob", "author"]}, long[1], 500)
    assert len(many[0]["metadata_left_out"]) == 20
    [(largest,)] = library.rows("select max(octet_length(metadata::text)) from documents")
    assert 40_000 < largest <= 64 * 1024


@pytest.mark.timeout(120)
def test_every_bomb_is_read_or_listed_and_every_file_beside_it_is_stored(library: Library) -> None:
    limited = library.settings.crawl.model_copy(update={"extract_timeout": 3.0})
    library.settings = library.settings.model_copy(update={"crawl": limited})
    files = dict(bombs(100))
    assert len(files) > 40
    for name, data in files.items():
        library.write(name, data)
        library.write(f"good-{name}.md", f"# Good\n\nThis stands beside {name}.\n")
    report = library.sync()
    failed = {problem.path: problem.reason for problem in report.problems}
    assert failed.keys() <= files.keys()
    assert all(failed.values())
    assert "front-brackets.md" in failed
    stored = {path for (path,) in library.rows("select path from documents")}
    assert stored == {*files, *(f"good-{name}.md" for name in files), "animals.md", "garden/plants.md"} - {
        *failed
    }
    library.check()
    again = library.sync()
    assert (counts(again)["failed"], again.chunks.embedded) == (len(failed), 0)
    assert again.seconds["total"] < 2
