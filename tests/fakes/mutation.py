"""Answers of a server changed at random: fields missing, null, of a wrong type, too many."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from tests.fakes.openai_server import Recorded, Reply

if TYPE_CHECKING:
    from random import Random

WRONG: Final[tuple[Any, ...]] = (
    None, "", "x", "0", 0.5, -1, 10**30, True, [], {}, [None], {"x": 1}, [[1]], "\ud83d", "a\0b", float("nan"),
)  # fmt: skip
"""Values of all types."""


class Mutation:
    """A style that changes each answer in one to three places."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __call__(self, request: Recorded, reply: Reply) -> Reply:
        del request
        reply = Reply(reply.status, deepcopy(reply.body), reply.headers, deepcopy(reply.events))
        for _ in range(self._random.randint(1, 3)):
            if reply.events is not None:
                self._change({"events": reply.events})
            else:
                whole = {"body": reply.body}
                self._change(whole)
                reply.body = whole.get("body", b"")
        return reply

    def _change(self, root: dict[str, Any]) -> None:
        places = list(_places(root))
        holder, key = self._random.choice(places)
        kind = self._random.choice(("missing", "wrong", "wrong", "extra", "twice"))
        value = holder[key]
        if kind == "missing":
            del holder[key]
        elif kind == "wrong":
            wrong = [other for other in WRONG if other == "x" or kind_of(other) != kind_of(value)]
            if isinstance(
                holder, list
            ):  # no number where another one was before: that would be another vector
                wrong = [other for other in wrong if kind_of(other) is not float]
            holder[key] = deepcopy(self._random.choice(wrong))
        elif isinstance(holder, list) and isinstance(value, float):
            holder[key] = "x"  # one number more, and another one less, would be another vector
        elif isinstance(holder, list):
            holder.insert(self._random.randint(0, len(holder)), deepcopy(value) if kind == "twice" else "x")
        else:
            holder[f"{key}_{kind}"] = deepcopy(value)


def kind_of(value: Any) -> type:
    """Numbers are of one kind, since each may stand where another is right."""
    return float if type(value) is int and not isinstance(value, bool) else type(value)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place below a value, as what holds it and its key there. Of a vector's numbers the first two."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(min(2, len(value)) if value and isinstance(value[0], float) else len(value)))
    else:
        return []
    return [place for key in keys for place in ((value, key), *_places(value[key]))]
