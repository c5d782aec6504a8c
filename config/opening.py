"""Opens files of a source, in which others may put one thing into the place of another at any moment: nothing is
followed out of it, nothing is waited for."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from io import BufferedReader

FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without O_NONBLOCK a pipe would be waited for until somebody writes into it."""

FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
NO_LINK: Final = os.O_NOFOLLOW
OTHER: Final = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.ENXIO, errno.ENODEV)
"""What the kernel says of a link, of a file in a folder's place, of a socket, of a device."""


class ChangedError(Exception):
    """The file is another than the one that was listed, or changed while it was read."""


def open_file(root: str, path: str, *, follow_symlinks: bool) -> BufferedReader:
    """A regular file below the root. Where symlinks are not followed, none is, nor in a folder on the way. Raises
    ChangedError for what is no such file (any more), OSError."""
    try:
        descriptor = os.open(f"{root}/{path}", FILE) if follow_symlinks else _open_below(root, path)
    except OSError as error:
        if error.errno in OTHER:
            raise ChangedError from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ChangedError
    return os.fdopen(descriptor, "rb")


def _open_below(root: str, path: str) -> int:
    *folders, name = path.split("/")
    folder = os.open(root, FOLDER)
    try:
        for part in folders:
            inner = os.open(part, FOLDER | NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, FILE | NO_LINK, dir_fd=folder)
    finally:
        with suppress(OSError):
            os.close(folder)
