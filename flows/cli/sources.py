"""`pgfolio sources`: lists, adds, renames, moves and forgets what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from pgfolio.config.errors import ConfigError
from pgfolio.config.loading import load_settings
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import as_json
from pgfolio.flows.discovery.configured import is_configured, kind_of, root_of
from pgfolio.flows.discovery.sources import NoSuchSourceError, selected_sources
from pgfolio.flows.ingest.forget import run_forget
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources as stored
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations.overview import describe_sources

if TYPE_CHECKING:
    from datetime import datetime

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

CONFIGURED = "its block [[sources]] in the settings"


@click.group()
def sources() -> None:
    """What is kept: folders and URLs, each with its documents.

    A source that stands in the settings is renamed and moved there; the next sync does it.
    """


@sources.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Every source with its documents, and what is the matter with it."""
    settings = load_settings()
    with database(settings) as conninfo, connect(conninfo) as connection:
        counts = {each["name"]: each for each in describe_sources(connection, None, roots=True)}
        known = stored.list_sources(connection)
        listed = [_as_answer(settings, source, counts[source.name]) for source in known]
    if as_json:
        render.show_json({"sources": listed})
    elif listed:
        render.OUT.print(_table(listed))
    else:
        render.say("There is no source yet: `pgfolio sources add FOLDER`, or `pgfolio sync FOLDER`.")


@sources.command()
@click.argument("root", metavar="FOLDER_OR_URL")
@click.option("--name", help="Default: that of the folder.")
@click.option("--collection", default="", help="Default: called as the source.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only these files; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these files; may be repeated.")
@as_json
def add(
    root: str,
    *,
    name: str | None,
    collection: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a source of a folder or a URL; the next sync brings its documents."""
    settings = load_settings()
    with database(settings) as conninfo, connect(conninfo) as connection:
        _require_new(connection, root, name)
        (source,) = selected_sources(connection, settings, [root], note=render.show_note)
        if name:
            stored.rename(connection, source, name)
        source = stored.ensure_source(
            connection,
            source.root,
            name=name or source.name,
            collection=collection or name or "",
            include=include,
            exclude=exclude,
        )
        stored.drop_empty_collections(connection)
        made = _named(connection, name or source.name)
    _tell(
        made,
        f"{made.name} is a source now, in the collection {made.collection}: `pgfolio sync`",
        as_json=as_json,
    )


@sources.command()
@click.argument("name", metavar="SOURCE")
@click.argument("new", metavar="NEW_NAME")
@as_json
def rename(name: str, new: str, *, as_json: bool) -> None:
    """Call a source otherwise. Embeds nothing; its collection keeps its name."""
    settings = load_settings()
    with database(settings) as conninfo, connect(conninfo) as connection:
        source = _changeable(connection, settings, name)
        stored.rename(connection, source, new)
        renamed = _named(connection, new)
    _tell(renamed, f"{name} is called {new} now", as_json=as_json)


@sources.command()
@click.argument("name", metavar="SOURCE")
@click.argument("root", metavar="FOLDER_OR_URL")
@as_json
def move(name: str, root: str, *, as_json: bool) -> None:
    """Say where a source's files are now. The next sync compares them: what is the same embeds nothing."""
    settings = load_settings()
    with database(settings) as conninfo, connect(conninfo) as connection:
        source = _changeable(connection, settings, name)
        if source.kind == "pushed":
            raise ConfigError(f"{name} has no folder: its documents were sent over HTTP")
        stored.move(connection, source, root_of(root), kind_of(root))
        moved = _named(connection, name)
    _tell(moved, f"{name} is at {moved.root} now: `pgfolio sync {name}` compares", as_json=as_json)


@sources.command()
@click.argument("name", metavar="SOURCE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def forget(name: str, *, yes: bool, as_json: bool) -> None:
    """Remove a source with all its documents from what is kept. Its files stay as they are."""
    settings = load_settings()
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            source = _changeable(connection, settings, name)
            counts = {each["name"]: each for each in describe_sources(connection, None, roots=True)}
        documents = counts[source.name]["documents"]
        if not yes:
            click.confirm(
                f"Forget {name} with {documents:,} documents? Its files stay.", abort=True, err=True
            )
        report = run_forget(settings, conninfo, source, Options())
    if as_json:
        render.show_json({"name": name, "forgotten": True, "documents": report.documents.removed})
    else:
        render.say(f"{name} is forgotten, with {report.documents.removed:,} documents")


def _named(connection: Connection, name: str) -> Source:
    known = stored.list_sources(connection)
    for source in known:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in known) or "none yet"
    raise NoSuchSourceError(f"no such source: {name[:200]!r} (known: {names})")


def _changeable(connection: Connection, settings: Settings, name: str) -> Source:
    source = _named(connection, name)
    if is_configured(settings, source):
        raise ConfigError(
            f"{name} stands in the settings: change or remove {CONFIGURED}, then `pgfolio sync`"
        )
    return source


def _require_new(connection: Connection, root: str, name: str | None) -> None:
    known = stored.list_sources(connection)
    if taken := [source.name for source in known if source.root == root_of(root)]:
        raise stored.NameTakenError(f"{root} is the source {taken[0]!r} already")
    if name and any(source.name == name for source in known):
        raise stored.NameTakenError(f"there is a source {name!r} already")


def _as_answer(settings: Settings, source: Source, counts: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "root": source.root if source.kind != "pushed" else None,
        "collection": source.collection,
        "include": list(source.include),
        "exclude": list(source.exclude),
        "documents": counts["documents"],
        "synced_at": _moment(counts["synced_at"]),
        "in_settings": is_configured(settings, source),
        "unreachable_since": _moment(source.unreachable_since),
    }


def _moment(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None


def _table(listed: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "root", "collection", "documents", "last synced", ""):
        table.add_column(heading)
    for each in listed:
        remarks = ["in the settings"] if each["in_settings"] else []
        if each["unreachable_since"]:
            remarks.append(f"cannot be reached since {each['unreachable_since'][:10]}")
        table.add_row(
            escape(each["name"]), escape(each["root"] or "(sent over HTTP)"), escape(each["collection"]),
            f"{each['documents']:,}", (each["synced_at"] or "never")[:16].replace("T", " "), ", ".join(remarks),
        )  # fmt: skip
    return table


def _tell(source: Source, sentence: str, *, as_json: bool) -> None:
    if as_json:
        render.show_json({"name": source.name, "root": source.root, "collection": source.collection})
    else:
        render.say(sentence)
