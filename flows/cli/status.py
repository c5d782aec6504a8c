"""`pgfolio status`: what there is, and, with --check, how well it is, in one line for cron and Nagios."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pgfolio.config.errors import ConfigError
from pgfolio.config.loading import load_settings
from pgfolio.config.terminal import printable
from pgfolio.flows.cli import health, render
from pgfolio.flows.cli.health import Facts, Health, HealthState
from pgfolio.flows.cli.options import as_json
from pgfolio.schema.database import migrate
from pgfolio.schema.database.connect import connect, connect_bare, database
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.programs import BundledPostgresError
from pgfolio.schema.operations import gauges, heartbeats, replicas, runs
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.vectors import generations, segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Monitoring, Settings
    from pgfolio.schema.database.connect import Connection

STATEMENT_SECONDS: Final = 20.0
"""What one statement of a check may take: whoever runs it waits for a minute at most."""


class WrongCheckError(click.UsageError):
    """A check that is called wrongly found nothing out: 2 would be critical."""

    exit_code = int(HealthState.UNKNOWN)


class StatusCommand(click.Command):
    """With exit codes of its own where it checks."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_check = "--check" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if is_check:
                raise WrongCheckError(error.format_message(), error.ctx) from error
            raise


@click.command(cls=StatusCommand)
@click.option(
    "--check",
    is_flag=True,
    help="One line with the worst thing and its reason; exit code 0 OK, 1 warning, 2 critical, 3 unknown.",
)
@click.option(
    "--only",
    type=click.Choice(health.CHECKS),
    help="With --check: judge this alone, as the health check of one container does.",
)
@as_json
def status(*, check: bool, only: str | None, as_json: bool) -> int:
    """Sources, spaces and their indexes, the last runs, files that could not be done."""
    if check:
        return _check(only, as_json=as_json)
    if only:
        raise click.UsageError("--only goes with --check")
    settings = load_settings()
    with database(settings, pooled=True) as conninfo, connect(conninfo) as connection:
        status_overview = overview(
            connection,
            None,
            keep_generations_days=settings.index.keep_generations_days,
            ef_search=settings.index.ef_search,
            prefixes=(settings.embedding.query_prefix, settings.embedding.document_prefix),
        )
    (render.show_json if as_json else render.show_status)(status_overview)
    return 0


def _check(only: str | None, *, as_json: bool) -> int:
    """Nothing is raised: whatever goes wrong is a state as well."""
    try:
        settings = load_settings()
        result = _examined(settings, only)
        line = _line(result, settings.monitoring)
    except ConfigError as error:
        result = health.failed(HealthState.UNKNOWN, "settings", str(error))
        line = _line(result)
    if as_json:
        render.show_json(_as_json(result))
    else:
        click.echo(line)
    return int(result.state)


def _examined(settings: Settings, only: str | None) -> Health:
    try:
        with _as_it_is(settings) as conninfo:
            if reason := _unmigrated(conninfo):
                return health.failed(HealthState.UNKNOWN, "migrations", reason)
            with connect(conninfo, timeout=STATEMENT_SECONDS) as connection:
                return health.assess(_gathered(connection, settings), settings.monitoring, only)
    except (DatabaseError, BundledPostgresError) as error:
        return health.failed(HealthState.CRITICAL, "database", str(error))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 -- a check that fails says so in its line
        return health.failed(HealthState.UNKNOWN, "check", f"{type(error).__name__}: {error}")


def _unmigrated(conninfo: str) -> str:
    """Empty where no migration is missing."""
    with connect_bare(conninfo) as connection:
        lacking = migrate.pending(connection)
    if lacking[:1] == migrate.migrations()[:1]:
        return "the database was never migrated: `pgfolio migrate`"
    return (
        f"the database lacks {len(lacking)} migrations of this version: `pgfolio migrate`" if lacking else ""
    )


@contextmanager
def _as_it_is(settings: Settings) -> Iterator[str]:
    """The database's connection string. A server of one's own is not migrated: monitoring changes nothing."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with database(settings, pooled=True) as conninfo:
        yield conninfo


def _gathered(connection: Connection, settings: Settings) -> Facts:
    latest = runs.latest_syncs(connection)
    listener = [beat.age for beat in heartbeats.ages(connection) if beat.process == "listener"]
    active = generations.active_generation(connection)
    replica = settings.api.database_url
    return Facts(
        sources=gauges.fetch_source_gauges(connection),
        last_runs=runs.last(connection, None),
        latest_syncs=latest,
        sync_age=_age(latest),
        unindexed=active.space.name if active and segments.unindexed(connection, active) else "",
        listener_age=listener[0] if listener else None,
        request_age=gauges.oldest_request_seconds(connection),
        replica=replicas.fetch_replica_gauge(connection, replica.get_secret_value()) if replica else None,
    )


def _age(latest: list[runs.Run]) -> float | None:
    """Since the newest of them that was none of pushes came to an end."""
    now = datetime.now(UTC)
    ages = [
        (now - run.finished_at).total_seconds()
        for run in latest
        if run.finished_at and run.started_by != "push" and run.status != "failed"
    ]
    return min(ages, default=None)


def _line(result: Health, limits: Monitoring | None = None) -> str:
    """As the Nagios plugin API wants it: one line, a bar before the numbers, no other bar."""
    reasons = [finding.reason for finding in result.findings]
    sources = len(result.facts.sources)
    text = reasons[0] if reasons else f"all is well with {sources} source{'s' if sources != 1 else ''}"
    more = f"; {len(reasons) - 1} more with --json" if len(reasons) > 1 else ""
    plain = " ".join(printable(text).split()).replace("|", "/")
    numbers = _numbers(result.facts, limits) if limits and sources else ""
    return f"PGFOLIO {result.state.name} - {plain}{more}{numbers}"


def _numbers(facts: Facts, limits: Monitoring) -> str:
    """`label=value;warning;critical`, as programs draw them."""
    limit = limits.sync_age_minutes * 60
    ages = [source.age for source in facts.sources if source.age is not None and source.kind != health.PUSHED]
    numbers = [f"sync_age={max(ages):.0f}s;{limit:.0f};{health.CRITICAL_AGES * limit:.0f}"] if ages else []
    numbers.append(f"held={sum(source.held for source in facts.sources)}")
    numbers.append(f"quarantined={sum(source.failed for source in facts.sources)}")
    numbers.append(f"pending={sum(source.pending for source in facts.sources)}")
    if facts.listener_age is not None:
        numbers.append(f"listener_age={facts.listener_age:.0f}s;;{limits.listener_age_seconds:.0f}")
    if facts.replica is not None and facts.replica.lag is not None:
        numbers.append(f"replica_lag={facts.replica.lag:.0f}s;{limits.replica_lag_seconds:.0f}")
    return f" | {' '.join(numbers)}"


def _as_json(result: Health) -> dict[str, Any]:
    return {
        "state": result.state.name.lower(),
        "code": int(result.state),
        "reason": result.findings[0].reason if result.findings else "",
        "findings": [
            {"check": finding.check, "state": finding.state.name.lower(), "reason": finding.reason}
            for finding in result.findings
        ],
    }
