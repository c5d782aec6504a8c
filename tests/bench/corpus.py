"""Documents to measure with: Markdown and small notes that are the same in every run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = 1400
SECTIONS = 8
FOLDER = 100
"""Files in one folder."""

SYLLABLES = "ba con de er fo gra hi in ju ka lo men no or pre qui ra sta ti un ver wo xa ys zo"
CODE = """```python
@task(retries={n}, retry_delay_seconds={m})
def step_{n}(value: int) -> int:
    return value + {m}
```"""


def write_markdown(folder: Path, files: int = FILES) -> None:
    """About 3.6 KB a file, 5 MB in all: headings, paragraphs, lists, code and links."""
    chosen = random.Random(7)
    words = [
        "".join(chosen.choices(SYLLABLES.split(), k=chosen.choice((1, 1, 2, 2, 3)))) for _ in range(6000)
    ]
    weights = [1 / rank for rank in range(1, len(words) + 1)]  # as in language: few words are frequent
    for number in range(files):
        sections = "\n\n".join(_section(chosen, words, weights, level=2 + n % 2) for n in range(SECTIONS))
        _write(folder, number, f"# {_sentence(chosen, words, weights, 4)}\n\n{sections}\n")


def write_notes(folder: Path, files: int) -> None:
    """Files of one line."""
    for number in range(files):
        _write(folder, number, f"Note {number}: nothing of importance.\n")


def _section(chosen: random.Random, words: list[str], weights: list[float], level: int) -> str:
    def sentences(count: int) -> Iterator[str]:
        return (_sentence(chosen, words, weights, chosen.randint(6, 18)) + "." for _ in range(count))

    parts = [
        "#" * level + " " + _sentence(chosen, words, weights, 3),
        " ".join(sentences(4)),
        chosen.choice(
            [
                "\n".join(f"- [{line}](../page-{chosen.randrange(99)}.md)" for line in sentences(3)),
                CODE.format(n=chosen.randrange(99), m=chosen.randrange(99)),
                " ".join(sentences(3)),
            ]
        ),
    ]
    return "\n\n".join(parts)


def _sentence(chosen: random.Random, words: list[str], weights: list[float], length: int) -> str:
    return " ".join(chosen.choices(words, weights, k=length)).capitalize()


def _write(folder: Path, number: int, text: str) -> None:
    path = folder / f"part-{number // FOLDER:04}" / f"page-{number:06}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
