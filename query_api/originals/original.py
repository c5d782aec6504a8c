"""The bytes of a document's file, from its folder or as they were pushed.

Only bytes whose hash is the stored document's are given away: whatever stands in the file's place now, a symlink out
of the source among them, shows nothing that is not in the database already.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final

from pgfolio.config.opening import ChangedError, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from pgfolio.schema.search.originals import StoredOriginal

PART_BYTES: Final = 256 * 1024
MAX_MEMORY_BYTES: Final = 1024 * 1024
"""Of a file what is in memory while it is compared and sent; a larger one is in TMPDIR, without a name."""

RESYNC: Final = "sync its source, then ask again"


class OriginalMissingError(Exception):
    """It is not where this server can read it."""


class OriginalChangedError(Exception):
    """Another file stands in its place."""


@dataclass(frozen=True, slots=True)
class Original:
    """`file` stands at its beginning, and is closed by whoever has it."""

    file: IO[bytes]
    size: int

    def parts(self) -> Iterator[bytes]:
        with self.file:
            while part := self.file.read(PART_BYTES):
                yield part


def open_original(stored: StoredOriginal, *, follow_symlinks: bool, max_bytes: int) -> Original:
    """A copy that nobody changes any more. Raises OriginalMissingError, OriginalChangedError."""
    spooled = SpooledTemporaryFile(MAX_MEMORY_BYTES)  # noqa: SIM115 -- whoever gets it closes it
    try:
        if stored.content is not None:
            spooled.write(stored.content)
            digest = hashlib.sha256(stored.content).digest()
        else:
            with _opened(stored.root, stored.path, follow_symlinks=follow_symlinks) as file:
                digest = _copied(file, spooled, max_bytes)
        _check(digest, stored.content_hash)
        size = spooled.tell()
        spooled.seek(0)
    except BaseException:
        spooled.close()
        raise
    return Original(spooled, size)


def _check(digest: bytes, content_hash: bytes) -> None:
    """Raises OriginalChangedError."""
    if digest != content_hash:
        raise OriginalChangedError(f"the file has changed since it was stored: {RESYNC}")


def _opened(root: str, path: str, *, follow_symlinks: bool) -> BufferedReader:
    """Raises OriginalMissingError, OriginalChangedError."""
    if (
        not Path(root).is_absolute()
        or not {"", ".", ".."}.isdisjoint(path.split("/"))
        or "\x00" in root + path
    ):
        raise OriginalMissingError("the original cannot be read from here: it has no place in a folder")
    try:
        file = open_file(root, path, follow_symlinks=follow_symlinks)
    except ChangedError as error:
        raise OriginalChangedError(
            f"a symlink, a pipe or a device stands where the file was, and is not read: {RESYNC}"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OriginalMissingError(
            "the original is not where this server could read it: it was moved or deleted since the last sync, or "
            "its folder is on another machine"
        ) from error
    except (OSError, ValueError) as error:
        raise OriginalMissingError("this server may not read the original, or cannot now") from error
    if follow_symlinks and not _is_below(file, root):
        file.close()
        raise OriginalChangedError("the file is a link out of its source, and is not read")
    return file


def _is_below(file: BufferedReader, root: str) -> bool:
    """Whether what was opened lies in the source, wherever the links led on the way there."""
    top = Path(os.path.realpath(root))
    there = os.fstat(file.fileno())
    real = Path(os.path.realpath(f"/proc/self/fd/{file.fileno()}"))
    try:
        now = os.lstat(real)
    except OSError:
        return False
    same = (now.st_dev, now.st_ino) == (there.st_dev, there.st_ino) and stat.S_ISREG(now.st_mode)
    return same and real.is_relative_to(top)


def _copied(file: BufferedReader, into: IO[bytes], max_bytes: int) -> bytes:
    """Its hash. Raises OriginalChangedError, OriginalMissingError."""
    digest, size = hashlib.sha256(), 0
    try:
        while part := file.read(PART_BYTES):
            size += len(part)
            if size > max_bytes:
                raise OriginalChangedError(
                    f"the file is larger now than may be stored (crawl.max_file_mb): {RESYNC}"
                )
            digest.update(part)
            into.write(part)
    except OSError as error:
        raise OriginalMissingError("the original cannot be read now") from error
    return digest.digest()
