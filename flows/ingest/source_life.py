"""Whether a source may be synced from here, and when its place counts as gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pgfolio.config.machine import host_name

if TYPE_CHECKING:
    from pgfolio.schema.records import Source

GONE_AFTER: Final = timedelta(days=7)


def machine_name() -> str:
    return host_name()


def other_processing(source: Source, settings: str, *, full: bool) -> str | None:
    """Why this machine may not sync it: another one makes other chunks of the same files, and the two would do so in
    turns. With `full` this machine's settings are those from now on."""
    if (
        full
        or not source.processing
        or source.processing == settings
        or source.processed_by == machine_name()
    ):
        return None
    return (
        f"{source.processed_by} makes its chunks of {source.processing}, and the settings of this machine say "
        f"{settings}: each would make them all anew. Nothing was changed. Give both the same [chunking] and "
        f"[search] language, or run `pgfolio sync --full {source.name}` here to go on with those of this machine"
    )


def gone_for_good(source: Source) -> datetime | None:
    """Since when, if that is long enough and the settings do not ask for it."""
    since = source.unreachable_since
    return since if since and not source.configured and datetime.now(UTC) - since > GONE_AFTER else None
