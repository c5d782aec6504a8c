"""By what documents can be filtered: collections, types, sources, languages, dates, metadata, and how many have each.

Of a large corpus from a sample, so that it stays cheap: some of the table's pages for who may see all, else as many
documents as are read at most. Counts of a sample are scaled to the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

MAX_DOCUMENTS: Final = 5_000
"""That are read; 10,000 of 1,000,000 took 190 to 265 ms on two busy cores."""

MAX_METADATA_BYTES: Final = 4096
"""Of a document; longer ones are left out."""

MAX_VALUE_CHARACTERS: Final = 100
MAX_VALUES: Final = 20
"""Keys, and values of each."""

MAX_NAMES: Final = 200


async def get_facets(
    connection: AsyncConnection, permitted: Permitted, collection_id: int | None = None
) -> dict[str, Any]:
    """Plain values, and `sampled`: whether they are of some of the documents only."""
    row = await (await connection.execute(statement("estimate_documents"))).fetchone()
    documents = int(row[0]) if row else 0
    from_sample = permitted is None and collection_id is None and documents > MAX_DOCUMENTS
    values = {
        "permitted": array(permitted),
        "collection_id": collection_id,
        "from_sample": from_sample,
        "percent": min(100.0, 100.0 * MAX_DOCUMENTS / max(documents, 1)),
        "limit": MAX_DOCUMENTS + 1,
        "max_metadata_bytes": MAX_METADATA_BYTES,
        "max_value_characters": MAX_VALUE_CHARACTERS,
        "max_values": MAX_VALUES,
        "max_names": MAX_NAMES,
    }
    fetched = await (await connection.execute(statement("get_facets"), values)).fetchone()
    facets: dict[str, Any] = fetched[0] if fetched else {}
    read = facets.pop("read", 0)
    facets["sampled"] = from_sample or read > MAX_DOCUMENTS
    return _scaled(facets, documents / read) if from_sample and read else facets


def _scaled(facets: dict[str, Any], factor: float) -> dict[str, Any]:
    """The counts of a sample, as of the whole."""
    return {
        name: [_scaled_item(item, factor) for item in value] if isinstance(value, list) else value
        for name, value in facets.items()
    }


def _scaled_item(item: dict[str, Any], factor: float) -> dict[str, Any]:
    scaled = {**item, "documents": round(item["documents"] * factor)}
    if "values" in item:
        scaled["values"] = [_scaled_item(value, factor) for value in item["values"]]
    return scaled
