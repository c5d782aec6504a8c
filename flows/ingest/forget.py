"""Forgets a source: its documents, their chunks and vectors, what the ledger has of it, and the source itself. Its
folder stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.flows.ingest import store
from pgfolio.flows.run.context import RunContext
from pgfolio.schema.corpus import ledger, sources
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.options import Options
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source

BATCH_FILES: Final = 500


def run_forget(settings: Settings, conninfo: str, source: Source, options: Options) -> Report:
    """In small transactions; killed in between, what is left is forgotten by the next try. Vectors are kept for a
    time, so that a source that comes back costs nothing. Raises FailedError."""
    run = RunContext(settings, conninfo, options)
    with run.recorded("sync") as connection, sources.owned(connection, source) as owned:
        generation = generations.active_generation(connection)
        known = ledger.load(connection, owned)
        paths = list(known)
        connection.commit()
        for start in range(0, len(paths), BATCH_FILES):
            batch = paths[start : start + BATCH_FILES]
            store.remove(connection, owned, generation, batch)
            run.report.documents.removed += sum(known[path].document_id is not None for path in batch)
        with connection.transaction():
            sources.prove_owner(connection, owned)
            sources.delete(connection, owned)
            sources.drop_empty_collections(connection)
    return run.report
