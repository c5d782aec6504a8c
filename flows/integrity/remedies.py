"""What becomes of each kind of finding."""

from __future__ import annotations

from typing import Final

REMEDIES: Final = {
    "document_missing": "the next sync takes the file as a new one",
    "ledger_missing": "the ledger gets its row back, the document is made anew",
    "ledger_path": "the ledger gets the document's path, the document is made anew",
    "ledger_document": "the ledger names the stored document, which is made anew",
    "ledger_hash": "the document is made anew",
    "chunk_count": "the document is made anew; chunks that are right stay",
    "chunk_order": "the document is made anew; chunks that are right stay",
    "chunk_without_document": "removed; its vector is kept",
    "chunk_collection": "put into the document's collection",
    "chunk_text": "its text is taken from the document, or the document is made anew",
    "chunk_hash": "the document is made anew",
    "vector_missing": "a stored vector of the same text is used, else it is embedded",
    "vector_without_chunk": "removed",
    "vector_dimensions": "replaced as a missing one",
    "vector_zero": "replaced as a missing one",
    "vector_collection": "put into the document's collection",
    "vector_outdated": "all vectors of that model are made anew, which costs nothing",
    "model_unusable": "nothing: put the model's files back, or run `pgfolio reembed`",
    "kept_vector": "removed",
    "generation_missing": "the settings' space becomes active and is embedded",
    "table_missing": "made, and filled as with missing vectors",
    "table_leftover": "dropped",
    "index_missing": "built",
    "index_invalid": "built anew",
    "index_wrong": "built anew",
    "index_incomplete": "built anew",
    "lexemes_index": "built anew",
}
"""What --repair does about each kind."""
