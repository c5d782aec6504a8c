"""What whoever asks may see, and where of that they look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pgfolio.schema.search.conditions import Every, NotDocuments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfolio.schema.search.conditions import Condition

Permitted: TypeAlias = "tuple[int, ...] | None"
"""The ids of the collections that whoever asks may see; None: all. Nothing here has a default for it, and every
statement that reads documents takes it: what forgets it fails, and shows nothing."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where chunks are looked for: in these of the permitted collections (None: in all of them), in documents that
    match (None: in all) and are none of those `excluded`, by their ids."""

    permitted: Permitted
    collections: tuple[int, ...] | None = None
    condition: Condition | None = None
    excluded: tuple[int, ...] = ()

    def without(self, documents: Iterable[int]) -> Scope:
        """The same but for these documents."""
        return replace(self, excluded=tuple(sorted({*self.excluded, *documents})))

    @property
    def restriction(self) -> Condition | None:
        """What documents must match, of both."""
        if not self.excluded:
            return self.condition
        others = NotDocuments(self.excluded)
        return others if self.condition is None else Every((self.condition, others))

    @property
    def permitted_collections(self) -> Permitted:
        """What is permitted of what is asked for."""
        if self.permitted is None or self.collections is None:
            return self.permitted if self.collections is None else self.collections
        return tuple(each for each in self.collections if each in self.permitted)


EVERYTHING = Scope(None)
"""For whoever may see everything."""
