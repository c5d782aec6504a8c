"""Brings the known sources in line with those of the settings, and says what becomes of each that has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.machine import host_name
from pgfolio.flows.remote.opening import is_url, normalized
from pgfolio.schema.corpus import sources

if TYPE_CHECKING:
    from typing import Literal

    from pgfolio.config.settings import Settings
    from pgfolio.config.source_rules import SourceRules
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source


def root_of(text: str) -> str:
    """What a source keeps of the folder or the URL that a user names. Raises WrongUrlError."""
    return normalized(text) if is_url(text) else os.path.realpath(Path(text).expanduser())


def kind_of(root: str) -> Literal["folder", "remote"]:
    return "remote" if is_url(root) else "folder"


def is_configured(settings: Settings, source: Source) -> bool:
    """Whether the settings name it: the next sync would bring it back."""
    return source.root in {root_of(rules.root) for rules in settings.sources}


def apply_settings(connection: Connection, settings: Settings) -> list[str]:
    """Returns a sentence for each change. A source that was renamed or moved is the one that it was, with all its
    documents. Raises ConfigError."""
    notes: list[str] = []
    roots = {root_of(rules.root) for rules in settings.sources}
    for rules in settings.sources:
        notes += _apply(connection, rules, roots)
    for source in sources.list_sources(connection):
        if source.configured and source.root not in roots:
            sources.set_configured(connection, source, configured=False)
            notes.append(
                f"{source.name} stands in the settings no longer: it is kept and synced as before; "
                f"`pgfolio sources forget {source.name}` removes it"
            )
    return notes


def _apply(connection: Connection, rules: SourceRules, roots: set[str]) -> list[str]:
    root = root_of(rules.root)
    known = sources.list_sources(connection)
    by_root = next((source for source in known if source.root == root), None)
    by_name = next((source for source in known if source.name == rules.name), None)
    notes: list[str] = []
    if by_root is None and by_name is not None and by_name.root not in roots and _is_of_here(by_name):
        sources.move(connection, by_name, root, kind_of(root))
        notes.append(f"{rules.name} is at {root} now, and was at {by_name.root}: what is the same is kept")
        by_root = by_name
    elif by_root is not None and by_name is None:
        sources.rename(connection, by_root, rules.name)
        notes.append(f"{by_root.name} is called {rules.name} now, as in the settings")
    elif by_root is not None and by_name is not None and by_name.id != by_root.id:
        notes.append(
            f"{root} stays {by_root.name}: {rules.name} is {by_name.root}; `pgfolio sources rename` makes the name "
            "free"
        )
    updated = sources.ensure_source(
        connection,
        root,
        name=rules.name,
        kind=kind_of(root),
        collection=rules.collection,
        include=rules.include,
        exclude=rules.exclude,
    )
    if not updated.configured:
        sources.set_configured(connection, updated, configured=True)
    return notes + (_changes(by_root, updated) if by_root is not None else [])


def _is_of_here(source: Source) -> bool:
    """Whether its block stood in the settings of this machine: another one may have a folder of the same name."""
    return source.configured and source.processed_by in ("", host_name())


def _changes(before: Source, after: Source) -> list[str]:
    notes = []
    if before.collection != after.collection:
        notes.append(
            f"the documents of {after.name} go from the collection {before.collection} to {after.collection}"
        )
    if (before.include, before.exclude) != (after.include, after.exclude):
        notes.append(
            f"other files belong to {after.name} now (include, exclude): the sync adds them, and removes documents "
            "that no longer do"
        )
    return notes
