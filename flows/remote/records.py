"""What a remote tree of files is asked for, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Presence: TypeAlias = Literal["there", "gone", "unknown"]


class RemoteFile(NamedTuple):
    """One file; `path` is relative to the URL, with forward slashes. `tag`: the ETag, version or checksum that
    changes with its content; empty: size and time have to do. `mtime_ns`: nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int
    tag: str


class UnlistedFolder(NamedTuple):
    """A folder, with its slash, that could not be listed: what is below it is unknown."""

    path: str
    reason: str


class RemoteUnreachable(Exception):  # noqa: N818 - the name says what happened
    """The place does not answer, or not us: in a sentence for the user."""


class Remote(Protocol):
    """Called by several threads."""

    has_content_tags: bool
    """Whether two files with the same tag and size have the same bytes."""

    def list_files(self) -> Iterator[RemoteFile | UnlistedFolder]:
        """All files, in any order. A listing that ends before its end raises RemoteUnreachable."""

    def read(self, path: str, max_bytes: int) -> tuple[bytes, RemoteFile]:
        """The bytes, and what the place says of them as they were sent: at most one byte over the limit is read.
        Raises FileNotFoundError, PermissionError, RemoteUnreachable."""

    def presence(self, path: str) -> Presence:
        """Whether a file that was not listed is there after all; unknown where that cannot be told now."""

    def close(self) -> None: ...
