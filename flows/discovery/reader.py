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
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Signature, Source


class ChangedError(Exception):
    """The file's stat was another after reading than before."""


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
"""Takes a document's path. Raises FileNotFoundError, ChangedError, OSError. Called by several threads."""


@contextmanager
def reader(conninfo: str, source: Source) -> Iterator[Read]:
    """How the documents of a source are read."""
    if source.kind == "folder":
        yield partial(read_file, source.root)
        return
    with connect(conninfo, autocommit=True) as connection:
        yield partial(read_push, connection, source)


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
