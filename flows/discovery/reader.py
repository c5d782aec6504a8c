"""Gathers: the bytes of one document, from its file or from what was pushed."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pgfolio.flows.discovery.signature import distrusted, racy, signature_of
from pgfolio.schema.corpus import push_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Signature, Source


MAX_ATTEMPTS = 3
"""A push that ended the program that read it so many times is not read again."""


class ChangedError(Exception):
    """The file's stat was another after reading than before."""


class PoisonousError(Exception):
    """The program that makes documents of pushes ended each time that it read this one: it is not tried again; delete
    it."""


@dataclass(frozen=True, slots=True)
class Content:
    """A document's bytes with the signature that belongs to them, and what whoever pushed it says of it: its
    title and metadata, and the name that it goes by when it has no title of its own."""

    data: bytes
    signature: Signature
    title: str | None = None
    name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


Read: TypeAlias = "Callable[[str], Content]"
"""Takes a document's path. Raises FileNotFoundError, ChangedError, PoisonousError, OSError. Called by several
threads."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the documents of a source are read. `done` is told which came to an end, whatever it was: one of whose
    reading nobody knows the end may have ended who read it."""

    read: Read
    done: Callable[[Sequence[str]], None] = lambda _: None


@contextmanager
def reader(conninfo: str, source: Source) -> Iterator[Reader]:
    if source.kind == "folder":
        yield Reader(partial(read_file, source.root))
        return
    with push_queue.reading(conninfo) as connection:
        yield Reader(partial(read_push, connection, source), partial(push_queue.end, connection, source))


def read_file(root: str, path: str) -> Content:
    """A file that changes meanwhile is read once more, and one that may change unseen is read again at the next
    sync."""
    for _ in range(2):
        began = time.time_ns()
        with open(os.path.join(root, path), "rb") as file:  # noqa: PTH118, PTH123 -- a hot path
            before = os.fstat(file.fileno())
            data = file.read()
            after = os.fstat(file.fileno())
        signature = signature_of(after)
        if signature_of(before) == signature and len(data) == after.st_size:
            return Content(data, distrusted(signature) if racy(signature, began) else signature)
    raise ChangedError


def read_push(connection: Connection, source: Source, path: str) -> Content:
    """The path is a key in the database: no file has it."""
    if push_queue.begin(connection, source, path) > MAX_ATTEMPTS:
        raise PoisonousError
    push = push_queue.read(connection, source, path)
    if push is None:
        raise FileNotFoundError(path)
    return Content(push.content, push.signature, push.title or None, push.name, push.metadata)


def hash_file(root: str, path: str) -> bytes | None:
    """SHA-256 of a file's bytes; None if it cannot be read now."""
    try:
        with open(os.path.join(root, path), "rb") as file:  # noqa: PTH118, PTH123 -- a hot path
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
