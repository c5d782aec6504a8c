"""Which sources a command means: known names, folders given on the command line, those of the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.errors import ConfigError
from pgfolio.config.names import named_after
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.push_queue import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source


class NoSuchSourceError(ConfigError):
    """Neither a known source nor a folder."""


def selected_sources(
    connection: Connection, settings: Settings, names: Sequence[str], *, add: bool = True
) -> list[Source]:
    """The named sources, or all of them. With `add` a folder becomes a source, named after it, and stays known: only
    for whoever has the command line. Without, it must be one already.

    Raises NoSuchSourceError.
    """
    for rules in settings.sources:
        sources.ensure_source(
            connection,
            os.path.realpath(Path(rules.root).expanduser()),
            name=rules.name,
            collection=rules.collection,
            include=rules.include,
            exclude=rules.exclude,
        )
    known = sources.list_sources(connection)
    if not names:
        return known
    selected = {source.id: source for name in names for source in _named(connection, known, name, add=add)}
    return list(selected.values())


def _named(connection: Connection, known: Sequence[Source], name: str, *, add: bool) -> list[Source]:
    """`pushed` means every source of pushed documents: each collection has its own."""
    pushed = [source for source in known if source.kind == "pushed"] if name == COLLECTION else []
    if pushed:
        return pushed + [source for source in known if source.name == name and source not in pushed]
    return [_resolved(connection, known, name, add=add)]


def _resolved(connection: Connection, known: Sequence[Source], name: str, *, add: bool) -> Source:
    if not name.strip():
        raise NoSuchSourceError("the name of a source or folder is empty: is a variable unset?")
    root = os.path.realpath(Path(name).expanduser())
    for source in known:
        if name == source.name or root == source.root:
            return source
    names = ", ".join(source.name for source in known) or "none yet"
    if not add:
        raise NoSuchSourceError(
            f"no known source: {name[:200]!r} (known: {names}); a run takes sources that `pgfolio sync FOLDER` or "
            "the settings have added"
        )
    if Path(root).is_file():
        raise NoSuchSourceError(
            f"{name} is a file: sync its folder; `include` of a source in the settings, or an ignore file there, "
            "leaves out the others"
        )
    if not Path(root).is_dir():
        raise NoSuchSourceError(f"no such folder or source: {name} (known sources: {names})")
    return sources.ensure_source(connection, root, name=named_after(Path(root).name))
