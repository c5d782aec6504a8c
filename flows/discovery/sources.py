"""Which sources a command means: known names, folders given on the command line, those of the configuration."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.errors import ConfigError
from pgfolio.config.names import named_after
from pgfolio.flows.discovery.configured import apply_settings, root_of
from pgfolio.flows.remote.opening import is_url, open_remote
from pgfolio.flows.remote.records import RemoteUnreachable
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.push_queue import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source


class NoSuchSourceError(ConfigError):
    """Neither a known source nor a folder."""


def selected_sources(
    connection: Connection,
    settings: Settings,
    names: Sequence[str],
    *,
    add: bool = True,
    note: Callable[[str], None] = lambda _: None,
) -> list[Source]:
    """The named sources, or all of them. With `add` a folder becomes a source, named after it, and stays known: only
    for whoever has the command line. Without, it must be one already. `note` is told what changed in the settings.

    Raises NoSuchSourceError.
    """
    for sentence in apply_settings(connection, settings):
        note(sentence)
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
    root = root_of(name)
    for source in known:
        if name == source.name or root == source.root:
            return source
    names = ", ".join(source.name for source in known) or "none yet"
    if not add:
        raise NoSuchSourceError(
            f"no known source: {name[:200]!r} (known: {names}); a run takes sources that `pgfolio sync FOLDER` or "
            "the settings have added"
        )
    if is_url(root):
        _require_listing(root)
        return sources.ensure_source(
            connection, root, name=named_after(root.rpartition("/")[2]), kind="remote"
        )
    if Path(root).is_file():
        raise NoSuchSourceError(
            f"{name} is a file: sync its folder; `include` of a source in the settings, or an ignore file there, "
            "leaves out the others"
        )
    if not Path(root).is_dir():
        raise NoSuchSourceError(f"no such folder or source: {name} (known sources: {names})")
    return sources.ensure_source(connection, root, name=named_after(Path(root).name))


def _require_listing(url: str) -> None:
    """Before it becomes a source: a mistyped bucket would stay one."""
    try:
        with closing(open_remote(url)) as remote:
            next(iter(remote.list_files()), None)
    except RemoteUnreachable as error:
        raise NoSuchSourceError(str(error)) from error
