"""`pgfolio keys`: makes, lists and revokes the API's keys. What a key is stands in schema/operations/api_keys.py."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.markup import escape
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import Interval, as_json
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations import api_keys as stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.operations.api_keys import KeyScope, ListedKey, NewKey

LATEST = datetime(9999, 12, 31, tzinfo=UTC)
"""Python has no later day, whatever time zone a moment is read in."""


class Moment(click.ParamType[datetime]):
    """A date, a time, or an interval from now, as in 2027-01-31, 2027-01-31T12:00Z, 90d."""

    name = "when"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = self._from_now(value, param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment <= datetime.now(UTC):
            self.fail(f"{value!r} is past already", param, ctx)
        if moment > LATEST:
            self._fail_too_late(value, param, ctx)
        return moment

    def _from_now(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if re.fullmatch(r"\d{10,}[smhd]?", value.strip()):
            self._fail_too_late(value, param, ctx)
        try:
            return datetime.now(UTC) + timedelta(seconds=Interval().convert(value, param, ctx))
        except OverflowError:
            self._fail_too_late(value, param, ctx)

    def _fail_too_late(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(
            f"{value[:40]!r} is too far away: write a date up to {LATEST:%Y-%m-%d}, or leave --expires out "
            "for a key that never ends", param, ctx,
        )  # fmt: skip


@click.group()
def keys() -> None:
    """API keys: who may read, write and administer, and in which collections.

    While there was never a key the API is open, and listens on this machine only.
    """


@keys.command()
@click.option("--name", help="What the key is called.  [default: made from the key]")
@click.option("--scope", type=click.Choice(stored.SCOPES), default="read", show_default=True,
              help="Each includes those before it.")  # fmt: skip
@click.option("--collection", "collections", multiple=True, help="Only within this one; may be repeated.")
@click.option("--expires", type=Moment(), help="A date, or an interval such as 90d.  [default: never]")
@as_json
def add(
    *,
    name: str | None,
    scope: KeyScope,
    collections: tuple[str, ...],
    expires: datetime | None,
    as_json: bool,
) -> None:
    """Make a key and show it, this once: only its hash is stored."""
    with database(load_settings(), pooled=True) as conninfo, connect(conninfo) as connection:
        made = stored.add(connection, name, scope, collections, expires)
    if as_json:
        render.show_json(_as_answer(made))
    else:
        render.say(f"key {made.id}, {made.name!r}: {made.scope}, {_where(made.collections)}")
        render.say("It is shown now and never again; send it as `Authorization: Bearer KEY`:")
        print(made.secret)


@keys.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Every key that was ever made, without the key itself."""
    with database(load_settings(), pooled=True) as conninfo, connect(conninfo) as connection:
        keys_listed = stored.listed(connection)
    if as_json:
        render.show_json({"keys": [_plain(asdict(key)) for key in keys_listed]})
    else:
        render.OUT.print(
            _table(keys_listed) if keys_listed else "No key was ever made: the API is open to this machine."
        )


@keys.command()
@click.argument("which", metavar="ID_OR_NAME")
@as_json
def revoke(*, which: str, as_json: bool) -> None:
    """Make a key worthless, within a second, for every process that serves the API."""
    with database(load_settings(), pooled=True) as conninfo, connect(conninfo) as connection:
        key_id, name = stored.revoke(connection, which)
    if as_json:
        render.show_json({"id": key_id, "name": name, "revoked": True})
    else:
        render.say(f"key {key_id}, {name!r}, opens nothing any more")


def _as_answer(made: NewKey) -> dict[str, Any]:
    values = _plain(asdict(made))
    return {"key": values.pop("secret"), **values}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _table(keys_listed: Sequence[ListedKey]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "key", "scope", "collections", "created", "last used", "ends"):
        table.add_column(heading)
    for key in keys_listed:
        ends = f"revoked {_day(key.revoked_at)}" if key.revoked_at else _day(key.expires_at)
        table.add_row(
            str(key.id), escape(key.name), f"{key.prefix}...", key.scope, escape(_where(key.collections)),
            _day(key.created_at), _day(key.last_used_at), ends,
        )  # fmt: skip
    return table


def _where(collections: Sequence[str] | None) -> str:
    if collections is None:
        return "all collections"
    return ", ".join(collections) or "no collection that is left"


def _day(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M}" if when else "never"
