"""Does what was asked of the flows over HTTP, one request after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.flows.discovery.configured import is_configured
from pgfolio.flows.ingest.forget import run_forget
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.operations import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.operations.requests import TakenRequest
    from pgfolio.schema.records import Source

    Sync = Callable[[Source, Options], Report]

CONFIGURED = (
    "the settings name it ([[sources]]), and the next sync would bring it back: take it out there first"
)
BUSY = "it waits until another sync of this source is done"


def answer_requests(
    connection: Connection,
    conninfo: str,
    settings: Settings,
    sync: Sync,
    only: Collection[int] | None = None,
) -> bool:
    """All that wait, of these sources only where some are named; `sync` brings one source up to date. `connection` is
    in autocommit. Returns whether one must wait because its source is busy. Raises DatabaseError."""
    busy = False
    for request_id, is_syncing in requests.open_ids(connection).items():
        if is_syncing:  # whoever does that may be doing this very request
            busy = True
            continue
        with requests.taken(connection, request_id, only) as request:
            if request is not None:
                busy |= not _answer(connection, conninfo, settings, request, sync)
    return busy


def _answer(
    connection: Connection, conninfo: str, settings: Settings, request: TakenRequest, sync: Sync
) -> bool:
    """Whether it was done, or it is known why not."""
    source = next((s for s in sources.list_sources(connection) if s.id == request.source_id), None)
    if source is None:
        requests.end(connection, request.id, "refused", None, "the source is forgotten already")
        return True
    options = Options(approve_deletes=request.count or 0, started_by=f"request {request.id}")
    try:
        if request.kind != "forget":
            report = sync(source, options)
        elif is_configured(settings, source):
            requests.end(connection, request.id, "refused", None, CONFIGURED)
            return True
        else:
            report = run_forget(settings, conninfo, source, options)
    except Exception as error:  # noqa: BLE001 -- its outcome says so, and the next request is done
        if isinstance(error.__cause__ or error, SourceBusyError):
            requests.put_back(connection, request.id, BUSY)
            return False
        outcome = error.report.as_json() if isinstance(error, FailedError) else None
        requests.end(connection, request.id, "failed", outcome, " ".join(str(error).split()))
        return True
    if request.kind == "approve" and report.documents.held and not report.documents.removed:
        requests.end(connection, request.id, "refused", report.as_json(), _not_approved(request, report))
    else:
        requests.end(connection, request.id, "done", report.as_json())
    return True


def _not_approved(request: TakenRequest, report: Report) -> str:
    why = "; ".join(problem.reason for problem in report.problems[:1])
    return f"{report.documents.held} removals wait now, and {request.count} were approved: nothing was removed. {why}"
