"""Whether a run hands texts in, and whether it waits for their vectors. Pure but for `refuse_elsewhere`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pgfolio.config.errors import ConfigError
from pgfolio.config.models import provider_of
from pgfolio.config.models.batch_limits import PRICE_FRACTION

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.options import Options
    from pgfolio.schema.records import Space

BatchMode: TypeAlias = Literal["wait", "hand_in", "take", "never"]
"""wait (`--batch`): hand in, and wait. hand_in (the setting): hand in what is much, and take what is ready. take
(neither): take what is ready of what was handed in before. never (`--no-batch`): ask for everything now."""

PROVIDER: Final = "openai"

MIN_TEXTS: Final = 1000
"""Fewer are asked for at once where nobody said `--batch`: they cost cents, and would be searchable a day later."""


def batch_mode(settings: Settings, options: Options) -> BatchMode:
    if options.batch is not None:
        return "wait" if options.batch else "never"
    return "hand_in" if settings.embedding.batch else "take"


def offers_batches(space: Space) -> bool:
    """Whether its provider has such an API; a server of that provider may lack it still."""
    return space.provider == PROVIDER


def batch_price(settings: Settings, space: Space) -> float | None:
    """US dollars for a million tokens; None: there is no such price."""
    if not offers_batches(space) or space.model not in settings.prices:
        return None
    return settings.prices[space.model] * PRICE_FRACTION


def refuse_elsewhere(settings: Settings, space: Space | None, *, batch: bool | None) -> None:
    """`space`: that is active, where it decides. Raises ConfigError where `--batch`, or the setting, cannot be
    meant."""
    configured = provider_of(settings)
    if settings.embedding.batch and batch is None and configured != PROVIDER:
        raise ConfigError(
            f"PGFOLIO_EMBEDDING__BATCH: only the provider {PROVIDER} has a Batch API, not {configured}: unset it"
        )
    provider = space.provider if space else configured
    if batch and provider != PROVIDER:
        raise ConfigError(f"--batch: only the provider {PROVIDER} has a Batch API, not {provider}")
