"""Chunks: exact offsets, nothing lost, nothing over the limit, headings, pages, and stability under edits."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wordllama
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pgfolio.flows.chunking import boundaries
from pgfolio.flows.chunking.chunk import MIN_TOKENS, chunk, chunk_many
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.chunking.outline import Chunkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.schema.records import Chunk

    Count = Callable[[Sequence[str]], list[int]]
    Edit = Callable[[list[str]], list[str]]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def letters(texts: Sequence[str]) -> list[int]:
    """The most tokens that any vocabulary makes: one for each byte."""
    return [len(text.encode()) for text in texts]


def chunks_of(
    text: str, *, title: str | None = None, markdown: bool = True, tokens: int = 120
) -> list[Chunk]:
    return chunk(text, title=title, pages=(), markdown=markdown, count=words, tokens=tokens, overlap=16)


def paragraph(seed: int, sentences: int = 3) -> str:
    rng = random.Random(seed)
    vocabulary = "the sync of a folder reads every file once and keeps what it knows in one ledger"
    return " ".join(
        " ".join(rng.choices(vocabulary.split(), k=12)).capitalize() + f" {seed}." for _ in range(sentences)
    )


HEADINGS = ["# One", "## Two\n", "### Three ###", "# not code", "Title\n====="]
BLOCKS = [
    "text",
    "a b. c",
    "```",
    "~~~",
    "| a | b |",
    "| a | b c |\n| --- | --- |\n" + "| x | y z |\n" * 9,
    "a | b\n--- | ---\n" + f"c | {'d' * 40}\n" * 3,
    "| --- |",
    "- item",
    "    indented",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\x1c",
]
STRANGE = ["| é | " + "wide " * 30 + "|", "é中文。", "👩‍👩‍👧", "x" * 300, "word " * 90, "\u3000"]
PIECES = st.sampled_from([*HEADINGS, *BLOCKS, *STRANGE])
DOCUMENTS = st.lists(st.tuples(PIECES, st.sampled_from(["\n", "\n\n", " ", ""])), max_size=40).map(
    lambda parts: "".join(piece + gap for piece, gap in parts)
)


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.booleans(), st.sampled_from([words, letters]), st.sampled_from([0, 16, 64]))
def test_chunks_are_exact_slices_that_cover_the_text_within_the_limit(
    text: str, markdown: bool, count: Count, overlap: int
) -> None:
    document = Chunkable(text, title="A title of some length " * 9, markdown=markdown)
    [chunks] = chunk_many([document], count=count, tokens=MIN_TOKENS, overlap=overlap)
    covered: set[int] = set()
    for piece in chunks:
        embedded = embedded_text(document.title, piece.heading, piece.content)
        own = text[piece.start : piece.end]
        header = piece.content.removesuffix(own)
        assert piece.content == header + own == piece.content.strip()
        assert own == own.strip() != ""
        assert not header or (header.endswith(("-\n", "|\n")) and header in text[: piece.start])
        assert piece.tokens == count([embedded])[0] <= MIN_TOKENS
        assert piece.hash == hashlib.sha256(embedded.encode()).digest()
        covered.update(range(piece.start, piece.end))
    assert [index for index, letter in enumerate(text) if not letter.isspace() and index not in covered] == []
    assert [piece.end for piece in chunks] == sorted({piece.end for piece in chunks})


@settings(max_examples=30, deadline=None)
@given(st.lists(DOCUMENTS, max_size=4))
def test_a_batch_gives_what_each_document_gives_alone(texts: list[str]) -> None:
    documents = [Chunkable(text, "T", markdown=True) for text in texts]
    together = chunk_many(documents, count=words, tokens=MIN_TOKENS, overlap=16)
    alone = [chunk_many([document], count=words, tokens=MIN_TOKENS, overlap=16)[0] for document in documents]
    assert together == alone


def test_the_real_tokenizer_counts_no_chunk_over_512() -> None:
    path = Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def count(texts: Sequence[str]) -> list[int]:
        encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in encoded]

    text = "\n\n".join(
        f"## Part {n}\n\n{paragraph(n, 9)}\n\n```\n{'{}[];' * 40 * (n % 4)}\n```" for n in range(60)
    )
    chunks = chunk(text, title="Load", pages=(), markdown=True, count=count)
    assert max(piece.tokens for piece in chunks) <= 512
    assert min(piece.tokens for piece in chunks) >= 30


def test_all_documents_of_a_batch_are_counted_in_the_first_call() -> None:
    calls: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return words(texts)

    documents = [Chunkable(paragraph(seed), markdown=True) for seed in range(50)]
    chunk_many(documents, count=count, tokens=512)
    assert calls == [50]


HEADED = "# Guide\n\nintro\n\n## Install\n\n{long}\n\n### Linux\n\n{long}\n\n## Use\n\n{long}\n"


def test_a_chunk_has_the_headings_above_its_start() -> None:
    chunks = chunks_of(HEADED.format(long=paragraph(1, 8)))
    headings = {piece.heading for piece in chunks}
    assert headings == {"Guide", "Guide > Install", "Guide > Install > Linux", "Guide > Use"}


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# A\n\n```sh\n# not one\n```\n\n{long}", "A"),
        ("# A\n\n~~~~\n```\n# not one\n~~~~\n\n{long}", "A"),
        ("A\n===\n\nB\n---\n\n{long}", "A > B"),
        ("# A\n\n| a |\n|---|\n| b |\n\n{long}", "A"),
        ("# A #\n\n## [B](http://x) `c`\n\n{long}", "A > B c"),
        ("# A\n\n#no\n\n{long}", "A"),
        ("## B\n\n# A\n\n{long}", "A"),
    ],
)
def test_what_is_a_heading_and_what_only_looks_like_one(text: str, heading: str) -> None:
    assert chunks_of(text.format(long=paragraph(1, 30)))[-1].heading == heading


def test_a_hash_sign_in_plain_text_is_no_heading() -> None:
    assert {piece.heading for piece in chunks_of("# one\n\n" + paragraph(1, 40), markdown=False)} == {""}


def test_a_heading_is_never_parted_from_what_follows() -> None:
    text = "\n\n".join(f"## Part {n}\n\n### Detail {n}\n\n{paragraph(n, 8)}" for n in range(40))
    assert [
        piece.content for piece in chunks_of(text) if piece.content.splitlines()[-1].startswith("#")
    ] == []


def test_a_chunk_repeats_the_end_of_the_one_before_within_a_section_only() -> None:
    chunks = chunks_of("# A\n\n" + paragraph(1, 40) + "\n\n# B\n\n" + paragraph(2, 4))
    overlaps = [first.end - second.start for first, second in pairwise(chunks)]
    assert max(overlaps) in range(1, 17 * 6)
    assert [piece.content[:3] for piece in chunks if "# B" in piece.content] == ["# B"]


def test_a_chunk_is_on_the_page_where_it_starts() -> None:
    pages = [paragraph(number, 12) for number in range(3)]
    text = "\n\n".join(pages)
    starts = [text.index(page) for page in pages]
    chunks = chunk(text, title=None, pages=starts, markdown=False, count=words, tokens=120, overlap=0)
    assert [piece.page for piece in chunks] == [
        sum(start <= piece.start for start in starts) for piece in chunks
    ]
    assert {piece.page for piece in chunks} == {1, 2, 3}


def test_a_chunk_that_begins_with_the_last_line_of_a_page_is_on_the_next_one() -> None:
    text = "The page ends here.\n" + paragraph(1, 6)
    [piece] = chunk(text, title=None, pages=[0, 20], markdown=False, count=words, tokens=120, overlap=0)
    assert piece.page == 2


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\x1c\n"])
def test_a_text_of_whitespace_has_no_chunks(text: str) -> None:
    assert chunks_of(text) == []


def with_headings(number: int) -> str:
    level = "#" if number % 20 == 0 else "##" if number % 5 == 0 else ""
    return f"{level} Part {number}\n\n{paragraph(number)}" if level else paragraph(number)


SHAPES = {
    "headings": [with_headings(number) for number in range(200)],
    "prose": [paragraph(number) for number in range(200)],
    "no headings in long paragraphs": [paragraph(number, 20) for number in range(200)],
}
EDITS = {
    "a paragraph at the top": lambda parts: ["Something entirely new stands here. " * 4, *parts],
    "a word at the top": lambda parts: [parts[0] + " New.", *parts[1:]],
    "a line in the middle changed": lambda parts: [*parts[:100], parts[100] + " Changed.", *parts[101:]],
    "a paragraph in the middle gone": lambda parts: [*parts[:102], *parts[103:]],
    "a paragraph at the end": lambda parts: [*parts, "And something new."],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_an_edit_renews_the_chunks_around_it_only(shape: list[str], edit: Edit) -> None:
    before = {piece.hash for piece in chunks_of("\n\n".join(shape), tokens=200)}
    after = chunks_of("\n\n".join(edit(shape)), tokens=200)
    assert len(after) > 30
    assert sum(piece.hash not in before for piece in after) <= 5


def test_a_line_at_the_top_of_a_log_renews_few_chunks() -> None:
    lines = [
        f"2026-11-20 12:{number // 60:02}:{number % 60:02} worker {number * 7919 % 101} done"
        for number in range(3000)
    ]
    before = {piece.hash for piece in chunks_of("\n".join(lines), markdown=False)}
    after = chunks_of("\n".join(["started", *lines]), markdown=False)
    assert sum(piece.hash not in before for piece in after) <= 5


@pytest.mark.parametrize(
    ("title", "heading", "content", "expected"),
    [
        (None, "", "text", "text"),
        ("T", "", "text", "T\n\ntext"),
        ("T", "A > B", "text", "T > A > B\n\ntext"),
        ("T", "T > B", "text", "T > B\n\ntext"),
        ("T", "A > B", "## B\n\ntext", "T > A\n\n## B\n\ntext"),
        ("T", "T", "# T\n\ntext", "# T\n\ntext"),
    ],
)
def test_what_is_embedded_says_each_heading_once(
    title: str | None, heading: str, content: str, expected: str
) -> None:
    assert embedded_text(title, heading, content) == expected


@pytest.mark.long
def test_a_long_text_of_short_lines_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A boundary at every second character: of ten megabytes they took two gigabytes."""

    def peak() -> int:
        tracemalloc.start()
        try:
            assert (
                "".join(made.content for made in chunks_of("a\n" * 40_000, tokens=2000)).count("a") >= 40_000
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    at_once = peak()
    monkeypatch.setattr(boundaries, "MAX_PACKED_CHARACTERS", 8_000)
    assert peak() < at_once / 2


def test_an_edit_above_leaves_the_stretches_of_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "MAX_PACKED_CHARACTERS", 8_000)
    text = "\n\n".join(paragraph(n) for n in range(400))
    before = {made.hash for made in chunks_of(text)}
    after = {made.hash for made in chunks_of("A line above all others.\n\n" + text)}
    assert len(before) > 200
    assert len(after - before) < 10


@pytest.mark.parametrize("letter", ["x", "é", "中", "👩"])
def test_the_context_cannot_eat_the_budget(letter: str) -> None:
    context = embedded_text(letter * 999, letter * 998, "text").removesuffix("text")
    assert len(context.encode()) <= 205


def test_a_limit_too_small_for_any_text_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"chunking\.tokens is 10: it must be at least 96"):
        chunks_of("text", tokens=10)


def test_a_headings_markup_is_left_out_of_the_heading_path() -> None:
    text = '# `run` <sup><a href="x#L1"><Icon icon="github" /></a></sup>\n\nIt runs [the flow](flow.md).\n'
    [chunk_] = chunk(text, title=None, pages=(), markdown=True, count=words)
    assert chunk_.heading == "run"


def fenced(lines: int, fence: str = "```") -> str:
    """Code with blank lines in it."""
    return "\n".join([fence, *(f"call number {n} of it\n" for n in range(lines)), fence])


@pytest.mark.parametrize("before", ["Text right above.\n", "An introduction:\n", "Text.\n\n", "- an item\n"])
@pytest.mark.parametrize("after", ["\nText right below. ", "\n\nText. "])
@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_a_code_block_that_fits_is_in_one_chunk(before: str, after: str, fence: str) -> None:
    for number in range(6):
        code = fenced(9, fence)
        text = f"{paragraph(number, 4 + number)}\n\n{before * 3}{code}{after}{paragraph(number + 9, 5)}"
        assert [piece for piece in chunks_of(text, tokens=120) if code in piece.content], (number, text)


@pytest.mark.parametrize("introduction", ["You need these things:", "You need the following"])
@pytest.mark.parametrize("gap", ["\n\n", "\n"])
@pytest.mark.parametrize("item", ["- item {n}: {text}", "{n}. item {n}: {text}", "* item {n}: {text}"])
def test_a_list_begins_with_its_introduction(introduction: str, gap: str, item: str) -> None:
    if gap == "\n" and not introduction.endswith(":"):
        pytest.skip("one block, cut where it is longest")
    for size in range(1, 7):
        items = gap.join(item.format(n=n, text=paragraph(n, 1)) for n in range(1, 12))
        text = f"{paragraph(size, size)}\n\n{introduction}{gap}{items}\n\n{paragraph(90, 4)}"
        [piece] = [
            p for p in chunks_of(text) if p.content.find("item 1:") >= p.content.find(introduction) >= 0
        ]
        assert introduction in piece.content


def test_an_item_is_not_parted_from_its_own_paragraphs() -> None:
    items = [f"- Step {n}\n\n  {paragraph(n, 2)}\n\n  {paragraph(n + 50, 1)}" for n in range(12)]
    for piece in chunks_of("\n\n".join(items)):
        assert piece.content.startswith("- Step") or not piece.content.lstrip().startswith("  ")


TABLE_HEADER = "| Setting | Meaning |\n|---|:---:|"


@pytest.mark.parametrize("before", ["## Settings\n\n", "## Settings\n\nThe table:\n\n", "Right above.\n", ""])
@pytest.mark.parametrize("header", [TABLE_HEADER, "Setting | Meaning\n--- | ---"])
def test_each_piece_of_a_table_begins_with_its_header(before: str, header: str) -> None:
    rows = [f"| PGFOLIO_{n} | what the setting of number {n} is there for |" for n in range(80)]
    text = f"# Guide\n\n{paragraph(1)}\n\n{before}{header}\n" + "\n".join(rows) + f"\n\n{paragraph(2)}"
    chunks = chunks_of(text)
    with_rows = [piece for piece in chunks if "| PGFOLIO_" in piece.content]
    assert len(with_rows) > 3
    for piece in with_rows:
        own = text[piece.start : piece.end]
        assert piece.content in (own, f"{header}\n{own}")
        assert piece.content.count(header) == 1
        first_row = piece.content.index("| PGFOLIO_")
        assert piece.content[:first_row].endswith(f"{header}\n")
    assert all(sum(row in piece.content for piece in chunks) == 1 for row in rows)


@pytest.mark.parametrize("text", ["```\na | b\n--|--\n{rows}\n```", "a | b\n\n--|--\n{rows}", "{rows}"])
def test_what_is_no_table_has_no_header(text: str) -> None:
    rows = "\n".join(f"{n} | what the setting of number {n} is there for" for n in range(80))
    whole = text.format(rows=rows)
    assert all(piece.content == whole[piece.start : piece.end] for piece in chunks_of(whole))


def test_a_header_that_is_as_long_as_a_chunk_is_not_repeated() -> None:
    header = "| " + " | ".join(f"column {n}" for n in range(60)) + " |\n|" + "---|" * 60
    text = header + "\n" + "\n".join("| " + " | ".join(f"{n}" for n in range(60)) + " |" for _ in range(9))
    assert max(piece.tokens for piece in chunks_of(text)) <= 120
