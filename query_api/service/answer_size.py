"""Bounds the size of an answer: what would be larger is left out, and the answer says so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pgfolio.query_api.service.contracts import Result

MAX_RESULTS_BYTES: Final = 8 * 1024 * 1024
"""Of an answer's results as JSON. Encoding them takes 10 ms, in which no other request is answered."""


MAX_OTHER_BYTES: Final = 256 * 1024
"""Of one result beside its content, at most: with that the usual few need not be encoded to know their size."""


def bounded_results(results: list[Result], max_bytes: int = MAX_RESULTS_BYTES) -> list[Result]:
    """The first of them that fit; one in any case."""
    if sum(len(result.content) for result in results) + len(results) * MAX_OTHER_BYTES <= max_bytes // 4:
        return results  # a letter has up to 4 bytes
    total = 0
    for place, result in enumerate(results):
        total += len(msgspec.json.encode(result))
        if total > max_bytes and place:
            return results[:place]
    return results


def size_notes(results: list[Result], included: list[Result], without_metadata: int) -> list[str]:
    """What is to be told of what was left out."""
    notes = []
    if len(included) < len(results):
        mb = MAX_RESULTS_BYTES // (1024 * 1024)
        notes.append(
            f"only the first {len(included)} of {len(results)} results fit into {mb} MB: ask for fewer, or for fewer "
            "neighbors"
        )
    if without_metadata:
        notes.append(
            f"the metadata of {without_metadata} results is longer than 128 KB and left out: GET /documents/ID has it"
        )
    return notes
