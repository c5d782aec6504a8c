"""What belongs to a source: the rules of its settings, and those of the ignore files in its folders."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORE_FILES = (".gitignore", ".pgfolioignore")
"""The later one has the last word."""

LITTER = (
    "~$*",
    "*~",
    "#*#",
    "Thumbs.db",
    "ehthumbs.db",
    "Desktop.ini",
    "desktop.ini",
    ".DS_Store",
    "._*",
    ".#*",
)
"""What programs leave beside documents, and nobody wrote. The last rules to be asked: an ignore file that names one
with `!` in front has it read."""

_LITTER_NAMES = frozenset(name for name in LITTER if "*" not in name)

FolderSpecs = tuple[tuple[int, GitIgnoreSpec], ...]
"""The length of a folder's prefix with its rules, deepest folder first."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What belongs to a source. Globs are written as in `.gitignore`, relative to the root."""

    max_bytes: int
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_symlinks: bool = False


def is_litter(name: str) -> bool:
    """As LITTER says: asked for every file."""
    first, last = name[0], name[-1]
    if last == "~" or (first == "~" and name.startswith("~$")) or (first == "#" == last and len(name) > 1):
        return True
    return name in _LITTER_NAMES or (first == "." and name.startswith(("._", ".#")))


def compiled(globs: Sequence[str], setting: str) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(globs) if globs else None
    except (ValueError, re.error) as error:
        raise ValueError(f"crawl.{setting}: {error}") from error


def makes_sense(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 written as escapes, fit for a report and for the database."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
