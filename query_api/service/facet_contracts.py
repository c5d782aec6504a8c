"""What goes over HTTP of facets."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads it

from msgspec import Struct


class NamedFacet(Struct, frozen=True):
    name: str
    documents: int


class TypeFacet(Struct, frozen=True):
    mime: str
    documents: int


class ValueFacet(Struct, frozen=True):
    value: str | int | float | bool
    documents: int


class MetadataFacet(Struct, frozen=True):
    """A key of the metadata with its most frequent values."""

    key: str
    documents: int
    values: list[ValueFacet]


class DateRange(Struct, frozen=True):
    """Of the documents' own dates, or their files' where they have none."""

    first: datetime
    last: datetime


class Facets(Struct, frozen=True):
    """Each list has the most frequent first."""

    collections: list[NamedFacet]
    types: list[TypeFacet]
    sources: list[NamedFacet]
    languages: list[NamedFacet]
    dates: DateRange | None
    metadata: list[MetadataFacet]
    sampled: bool
    trace_id: str
