"""What is found to be wrong: its kinds, and the sentence for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something stored that is not as it must be. `kind` is a stable identifier, a key of REASONS."""

    kind: str
    source_id: int | None = None
    source: str | None = None
    path: str | None = None
    document_id: int | None = None
    chunk_id: int | None = None
    generation_id: int | None = None
    expected: str | None = None
    found: str | None = None

    @property
    def reason(self) -> str:
        """One sentence for the user."""
        return REASONS[self.kind].format(
            chunk=self.chunk_id,
            document=self.document_id,
            path=self.path,
            expected=self.expected,
            found=self.found,
        )


REASONS = {
    "document_missing": "the ledger says that it is stored, and it is not",
    "ledger_missing": "it is stored, and the ledger does not know it",
    "ledger_path": "the ledger has the document that is stored as {expected} under this path",
    "ledger_document": "the ledger names document {found}, stored is document {expected}",
    "ledger_hash": "the ledger has another content hash than the document",
    "chunk_count": "the ledger expects {expected} chunks, {found} are stored",
    "chunk_order": "its {found} chunks are not numbered from 0 without gaps",
    "chunk_without_document": "chunk {chunk} belongs to document {document}, which is not stored",
    "chunk_collection": "chunk {chunk} is in collection {found}, its document in {expected}",
    "chunk_text": "chunk {chunk} is not the document's text at its offsets",
    "chunk_hash": "chunk {chunk} has another hash than its text",
    "vector_missing": "chunk {chunk} has no vector, so searches by meaning do not find it",
    "vector_without_chunk": "vector {chunk} belongs to no chunk",
    "vector_dimensions": "the vector of chunk {chunk} has {found} dimensions, its space {expected}",
    "vector_zero": "the vector of chunk {chunk} has length zero, so no search finds it",
    "vector_collection": "the vector of chunk {chunk} is in collection {found}, its document in {expected}",
    "vector_outdated": "the model of {expected} makes another vector of chunk {chunk} now (similarity {found}): "
    "all that are stored may be of another version",
    "model_unusable": "the vectors of {path} cannot be compared with its model, nor questions with them: {found}",
    "kept_vector": "a vector kept for reuse has {found} of {expected} dimensions, or length zero",
    "generation_missing": "there are chunks, and no embedding space is active",
    "table_missing": "the table {path} of an embedding space is gone",
    "table_leftover": "the table {path} belongs to no embedding space",
    "index_missing": "the vectors' index {path} is not there: searches compare every vector",
    "index_invalid": "the vectors' index {path} is marked invalid: searches compare every vector",
    "index_wrong": "the index {path} is {found}, where {expected} is needed: searches do not use it",
    "index_incomplete": "of {expected} vectors looked for through the index {path}, {found} were not found",
    "lexemes_index": "the words' index {path} is {found}",
}
"""The sentence for each kind."""
