"""Gathers: the bytes of one document, from its file or from what was pushed."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pgfolio.config.opening import ChangedError, open_file
from pgfolio.flows.discovery.signature import distrusted, is_same, racy, signature_of
from pgfolio.schema.corpus import push_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.flows.discovery.listing import Entry
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Signature, Source


MAX_ATTEMPTS = 3
"""A push that ended the program that read it so many times is not read again."""


class PoisonousError(Exception):
    """The program that makes documents of pushes ended each time that it read this one: it is not tried again; delete
    it."""


class NotAnsweringError(Exception):
    """The place where the file is does not answer now, in a sentence."""


@dataclass(frozen=True, slots=True)
class Content:
    """A document's bytes with the signature that belongs to them, and what whoever pushed it says of it: its
    title and metadata, and the name that it goes by when it has no title of its own."""

    data: bytes
    signature: Signature
    title: str | None = None
    name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


Read: TypeAlias = "Callable[[Entry], Content]"
"""Takes a document as it is listed. Raises FileNotFoundError, ChangedError, PoisonousError, NotAnsweringError and
OSError. Called by several threads."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the documents of a source are read. `done` is told of which the reading came to an end, whatever it was:
    another may have ended who read it."""

    read: Read
    done: Callable[[Sequence[str]], None] = lambda _: None
    may_skip: bool = False
    """Whether what cannot be read is passed over: a folder holds all kinds of files, a push was meant to be read."""
    ahead: Callable[[Sequence[Entry]], None] = lambda _: None
    """Told which are read next."""


@contextmanager
def folder_reader(source: Source, *, follow_symlinks: bool) -> Iterator[Reader]:
    yield Reader(partial(read_file, source.root, follow_symlinks=follow_symlinks), may_skip=True)


@contextmanager
def push_reader(conninfo: str, source: Source) -> Iterator[Reader]:
    with push_queue.reading(conninfo) as connection:
        yield Reader(partial(read_push, connection, source), partial(push_queue.end, connection, source))


def read_file(root: str, entry: Entry, *, follow_symlinks: bool = False) -> Content:
    """A file that changes meanwhile is read once more, and one that may change unseen is read again at the next
    sync. One that is another than was listed is not read: whoever may write a folder may not choose what is read."""
    for _ in range(2):
        began = time.time_ns()
        with open_file(root, entry.path, follow_symlinks=follow_symlinks) as file:
            before = signature_of(os.fstat(file.fileno()))
            if not (follow_symlinks or is_same(before, entry.signature)):
                raise ChangedError
            data = file.read()
            signature = signature_of(os.fstat(file.fileno()))
        if before == signature and len(data) == signature.size:
            return Content(data, distrusted(signature) if racy(signature, began) else signature)
    raise ChangedError


def read_push(connection: Connection, source: Source, entry: Entry) -> Content:
    """The path is a key in the database: no file has it."""
    if push_queue.begin(connection, source, entry.path) > MAX_ATTEMPTS:
        raise PoisonousError
    push = push_queue.read(connection, source, entry.path)
    if push is None:
        raise FileNotFoundError(entry.path)
    return Content(push.content, push.signature, push.title or None, push.name, push.metadata)


def hash_file(root: str, path: str, *, follow_symlinks: bool) -> bytes | None:
    """SHA-256 of a file's bytes; None if it cannot be read now."""
    try:
        with open_file(root, path, follow_symlinks=follow_symlinks) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ChangedError):
        return None
