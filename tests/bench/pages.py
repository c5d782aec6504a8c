"""`python -m tests.bench.pages FILE...` holds the page of each chunk of long PDFs against pypdf's text of the pages.

A chunk belongs to a page by the runs of four words that no other page has. Of those that belong to one page alone
99 in 100 must say that page, and no chunk may be off by more than one. Says how many of pypdf's words the text has,
too.

Files it was run with are in archives on PyPI: SOURCES.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pypdf

from pgfolio.flows.chunking.outline import Chunkable
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.ingest.document import Processing, chunks_of_one

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = (
    ("biopython", "1.70", "Doc/Tutorial.pdf", "a manual of 335 pages with code and an outline"),
    ("biopython", "1.70", "Doc/biopdb_faq.pdf", "a paper of 15 pages"),
    ("PyInstaller", "3.1", "doc/Manual.pdf", "a manual of 47 pages"),
    ("mpi4py", "3.0.3", "docs/mpi4py.pdf", "a manual of 31 pages with an outline"),
    (
        "pymc",
        "2.0",
        "docs/UserGuide.pdf",
        "a manual of 101 pages with formulas, running heads and an outline",
    ),
    ("pywcs", "1.12", "wcslib/wcslib.pdf", "a reference of 209 pages"),
    (
        "pdfminer",
        "20140328",
        "samples/nonfree/i1040nr.pdf",
        "instructions of 50 pages in three columns, no outline",
    ),
    ("pdfminer", "20140328", "samples/nonfree/naacl06-shinyama.pdf", "a paper of 8 pages in two columns"),
)
"""Package, version, path in its source archive, and what it is."""

RUN = 4
MIN_RUNS = 5
MIN_SHARE = 0.9
"""Of a chunk's runs are of one page: then it belongs to that page alone."""
MIN_RIGHT = 0.99

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Counted:
    """Chunks of a file: those of one page alone, those of them with the right page, those off by more than one."""

    chunks: int
    single: int
    right: int
    far_off: int

    @property
    def passed(self) -> bool:
        return self.single > 0 and self.right >= MIN_RIGHT * self.single and not self.far_off


def count(chunks: Sequence[tuple[str, int | None]], pages: Sequence[str]) -> Counted:
    """Of chunks with their pages (from 1) against the pages' texts."""
    owners: dict[tuple[str, ...], int] = {}
    for number, page in enumerate(pages, 1):
        for run in set(_runs(page)):
            owners[run] = number if run not in owners else 0
    single = right = far_off = 0
    for text, said in chunks:
        counted = Counter(owner for run in _runs(text) if (owner := owners.get(run, 0)))
        if counted.total() < MIN_RUNS:
            continue
        [(first, share)] = counted.most_common(1)
        alone = share >= MIN_SHARE * counted.total()
        single += alone
        right += alone and said == first
        far_off += said is None or min(abs(said - owner) for owner in counted) > 1
    return Counted(len(chunks), single, right, far_off)


def _runs(text: str) -> list[tuple[str, ...]]:
    words = _WORD.findall(re.sub(r"-\n", "", text).lower())
    return [tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)]


def words_of(text: str) -> Counter[str]:
    return Counter(_WORD.findall(re.sub(r"-\n", "", text).lower()))


def main() -> int:
    logging.disable(logging.WARNING)  # pypdf's about files that are not by the book
    passed = True
    for name in sys.argv[1:]:
        began = time.perf_counter()
        extracted = extract(name, Path(name).read_bytes())
        seconds = time.perf_counter() - began
        chunkable = Chunkable(extracted.text, extracted.title, extracted.pages, markdown=extracted.markdown)
        chunks = chunks_of_one(chunkable, Processing(512, 64, "english"))
        pages = [page.extract_text() for page in pypdf.PdfReader(name).pages]
        counted = count([(chunk.content, chunk.page) for chunk in chunks], pages)
        ordered = len(extracted.pages) == len(pages) and list(extracted.pages) == sorted(extracted.pages)
        theirs = words_of("\n".join(pages))
        lacking = (theirs - words_of(extracted.text)).total()
        passed = passed and counted.passed and ordered
        verdict = "ok" if counted.passed and ordered else "WRONG"
        print(
            f"{Path(name).name:24} {len(pages):4} pages {seconds:6.2f} s  {counted.chunks:5} chunks  "
            f"{counted.right}/{counted.single} right, {counted.far_off} far off  "
            f"{1 - lacking / max(theirs.total(), 1):.2%} of the words  {verdict}"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
