"""The space to move to: as the command line names it, and how to name it there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings


def with_model(
    settings: Settings, provider: str | None, model: str | None, dimensions: int | None
) -> Settings:
    """The settings with the space that the command line names."""
    if provider is None and model is None and dimensions is None:
        return settings
    embedding = settings.embedding.model_copy(
        update={"provider": provider or "auto", "model": model or "", "dimensions": dimensions}
    )
    return settings.model_copy(update={"embedding": embedding})


def upgrade_target(
    settings: Settings,
    provider: str | None,
    model: str | None,
    dimensions: int | None,
    max_cost: float | None = None,
) -> Settings | None:
    """The settings with the space that `up` is to move to as their own: the command line's, or else that of
    `[upgrade]`. None: neither names one. `max_cost`: None: as `[upgrade]` says."""
    upgrade = settings.upgrade
    if not (provider or model or dimensions):
        provider = upgrade.provider if upgrade.provider != "auto" else None
        model, dimensions = upgrade.model or None, upgrade.dimensions
    if not (provider or model or dimensions):
        return None
    if max_cost is not None:
        upgrade = upgrade.model_copy(update={"max_cost": max_cost})
    return with_model(settings.model_copy(update={"upgrade": upgrade}), provider, model, dimensions)


def reembed_target(
    settings: Settings, provider: str | None, model: str | None, dimensions: int | None
) -> Settings:
    """The settings with the space that a `reembed` is to move to: the command line's, or else that of `[upgrade]`, or
    else that of `[embedding]`."""
    return upgrade_target(settings, provider, model, dimensions) or settings


def before_upgrade(settings: Settings, target: Settings | None) -> Settings:
    """Those of the first sync of an empty database: of the bundled model where the better one is also that of
    `[embedding]`, which would take its time."""
    if target is None or settings.embedding.model != target.embedding.model:
        return settings
    return with_model(settings, "local", None, None)


def reembed_command(settings: Settings) -> str:
    """What moves to the space of these settings, whatever the settings of whoever runs it are."""
    embedding = settings.embedding
    parts = [
        f"--provider {embedding.provider}" if embedding.provider != "auto" else "",
        f"--model {shlex.quote(embedding.model)}" if embedding.model else "",
        f"--dimensions {embedding.dimensions}" if embedding.dimensions else "",
    ]
    return " ".join(("pgfolio reembed", *filter(None, parts)))
