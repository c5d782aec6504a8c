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
