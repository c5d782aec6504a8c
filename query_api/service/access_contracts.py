"""What goes over HTTP of sessions and keys."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads it
from typing import Annotated

from msgspec import Meta, Struct

from pgfolio.query_api.service.contracts import Names  # noqa: TC001 -- msgspec reads it
from pgfolio.schema.operations.api_keys import KeyScope  # noqa: TC001 -- msgspec reads it


class SignIn(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    key: Annotated[str, Meta(min_length=1, max_length=500)]


class SignedIn(Struct, frozen=True):
    """Who the key is; `collections`: null where it may see all of them."""

    scope: KeyScope
    name: str
    collections: list[str] | None
    expires_at: datetime | None
    trace_id: str


class SessionAnswer(Struct, frozen=True, kw_only=True):
    required: bool
    signed_in: bool
    scope: KeyScope | None = None
    name: str | None = None
    collections: list[str] | None = None
    expires_at: datetime | None = None
    trace_id: str


class KeyRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`collections`: those that it is limited to; without them it may see all."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
    scope: KeyScope = "read"
    collections: Names | None = None
    expires: datetime | None = None


class KeyItem(Struct, frozen=True, kw_only=True):
    """`prefix`: its first characters, by which it is recognised."""

    id: int
    name: str
    prefix: str
    scope: KeyScope
    collections: list[str] | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyList(Struct, frozen=True):
    items: list[KeyItem]
    trace_id: str


class KeyAnswer(Struct, frozen=True, kw_only=True):
    """`key` is shown this once."""

    id: int
    key: str
    name: str
    scope: KeyScope
    collections: list[str] | None
    expires_at: datetime | None
    created_at: datetime
    trace_id: str
