"""Who asks: the key that was shown, and what it may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pgfolio.schema.operations.api_keys import KeyScope
    from pgfolio.schema.search.access import Permitted


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `key` is the key's id, None while the API is open."""

    key: int | None
    scope: KeyScope
    permitted: Permitted


OPEN: Final = Caller(None, "admin", None)


def caller_of(scope: Any) -> Caller:
    """Who makes this request. Raises KeyError in a route that is public."""
    caller: Caller = scope["state"]["caller"]
    return caller
