"""What goes over HTTP of requests to the flows."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads it
from typing import Annotated, Any

from msgspec import Meta, Struct

from pgfolio.schema.operations.requests import Kind, State  # noqa: TC001 -- msgspec reads them

MAX_APPROVED = 100_000


class Approval(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`count`: as many as were shown to wait."""

    count: Annotated[int, Meta(ge=1, le=MAX_APPROVED)]


class FlowRequest(Struct, frozen=True, kw_only=True):
    """`outcome`: the run's report, as `pgfolio sync --json` prints it; `reason`: why it failed, was refused or waits.
    `progress`: of a sync that runs, as `files_done`, `files_total`, `chunks`, `started_at`."""

    id: int
    url: str
    kind: Kind
    state: State
    source: str
    count: int | None
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: dict[str, Any] | None
    reason: str
    progress: dict[str, Any] | None


class FlowRequestAnswer(FlowRequest, frozen=True, kw_only=True):
    trace_id: str


class FlowRequestList(Struct, frozen=True):
    items: list[FlowRequest]
    trace_id: str
