"""What is stored, as frozen values. HTTP shapes live in query_api/service/contracts.py, settings in config/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import numpy as np

    from pgfolio.schema.markdown import Span

Storage: TypeAlias = Literal["halfvec", "vector", "bit"]
"""How a space's vectors stand in the column and in the index: schema/vectors/storage.py."""

MAX_METADATA_BYTES: Final = 64 * 1024
"""Of one document, as JSON: every result of a search carries them."""


class Signature(NamedTuple):
    """What `stat` says of a file; equal signatures mean that it need not be read. Times in nanoseconds.

    A tuple, since a crawl makes one for every file: a frozen dataclass takes three times as long.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Source:
    """A named root with its rules. `root` is an absolute folder, or the URL of a remote place; paths of documents are
    relative to it. The root of what was pushed is neither: its bytes are in the database."""

    id: int
    name: str
    root: str
    collection_id: int
    collection: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    kind: Literal["folder", "pushed", "remote"] = "folder"
    fence: int = 0
    """What its owner proves by that it still is the owner: schema/corpus/sources.py."""
    configured: bool = False
    """The settings name it."""
    unreachable_since: datetime | None = None
    processing: str = ""
    """The settings that its chunks are made by."""
    processed_by: str = ""
    """The machine whose settings these are."""


class LedgerEntry(NamedTuple):
    """What the last sync knew of one document. A tuple for the same reason: a sync that finds nothing to do
    makes one for every file.

    `content_hash` is the SHA-256 of the file's bytes as last stored (None: never stored). `processing_fingerprint`
    names the extractor and chunker with their settings: another one means that the document must be made anew.
    """

    path: str
    signature: Signature
    content_hash: bytes | None
    processing_fingerprint: str
    state: Literal["ok", "failed", "skipped"]
    document_id: int | None
    chunk_count: int
    stage: str = ""
    reason: str = ""
    attempts: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a document's stored text: `content` ends with `text[start:end]`, offsets in characters, and is that
    but for rows of a table that was cut, which have the table's header above them."""

    content: str
    heading: str
    page: int | None
    start: int
    end: int
    tokens: int
    hash: bytes
    """SHA-256 of the text as it is embedded (see flows/chunking/chunk.py), so that equal hashes share a vector."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file, extracted: what is stored of it beside its chunks."""

    path: str
    title: str | None
    mime: str
    text: str
    content_hash: bytes
    signature: Signature
    language: str
    created_at: datetime | None
    updated_at: datetime
    metadata: dict[str, Any] = field(default_factory=dict)
    owner: str | None = None
    code_blocks: Sequence[Span] = ()
    incomplete: str = ""
    """What of the file is not in `text`, in a sentence; empty: nothing is known to lack."""
    file_offset: int | None = None
    """Characters of the file before `text`; None: the file's characters are not the text's, as in a PDF."""
    crlf: Sequence[Span] = ()
    """Parts of `text` whose lines end with two characters in the file."""
    pages: Sequence[int] = ()
    """Where each page begins in `text`; empty: it has none."""


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space. Vectors of two spaces are never compared."""

    provider: str
    model: str
    dimensions: int
    shortened: bool = False
    """The dimensions are not the model's own: the server is asked for them."""
    query_prefix: str = ""
    document_prefix: str = ""
    storage: Storage = "halfvec"

    @property
    def asks_server(self) -> bool:
        """Whether its model is another program's, maybe a paid one; else it is in the process."""
        return self.provider not in {"local", "transformers"}

    @property
    def name(self) -> str:
        """For people, clients of the API among them: of a folder on this machine its last name."""
        kind = "" if self.storage == "halfvec" else f"/{self.storage}"
        is_path = self.provider == "transformers" and self.model.startswith("/")
        model = self.model.rpartition("/")[2] if is_path else self.model
        return f"{self.provider}/{model}/{self.dimensions}{kind}"

    def prefix_note(self, query_prefix: str | None, document_prefix: str | None) -> str | None:
        """What of the settings' prefixes the space was made without, and what to run; None: it has them. One that is
        not set is the model's own."""
        prefixes = {
            "query_prefix": (self.query_prefix, query_prefix),
            "document_prefix": (self.document_prefix, document_prefix),
        }
        differing = [
            f"{name} {configured!r} (it has {'none' if not own else repr(own)})"
            for name, (own, configured) in prefixes.items()
            if configured is not None and own != configured
        ]
        if not differing:
            return None
        return (
            f"the space {self.name} was made without the settings' {' and '.join(differing)}, and goes on so: "
            "`pgfolio reembed` moves to one that has what the settings say"
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """All vectors of the corpus in one space, in a table of their own."""

    id: int
    space: Space
    state: Literal["building", "ready", "active", "retired"]
    segment: int = 0
    """Where new vectors go: 0 is the table itself, others are tables that inherit from it (vectors/segments.py)."""
    ef_search: int | None = None
    """What its index was tuned to; None: as the settings say. Known where it is read for searching."""
    vector_weight: float | None = None
    """What its similarities count, as measured on the corpus; None: not measured. Known where ef_search is."""

    @property
    def table(self) -> str:
        """What is read: a query sees the vectors of all segments."""
        return f"vectors_{self.id}"

    @property
    def segment_table(self) -> str:
        return f"{self.table}_s{self.segment}" if self.segment else self.table

    @property
    def index(self) -> str:
        """The segment's."""
        return f"{self.segment_table}_hnsw"


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk's place in a batch with its vector of shape (dimensions,), float32; None: reuse the stored one."""

    chunk: Chunk
    vector: np.ndarray | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a run could not do for one document."""

    path: str
    stage: str
    reason: str
