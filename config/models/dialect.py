"""What a model's server takes of the parameters that not all know: what it refuses by name is named otherwise or left
out from then on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOO_MUCH = re.compile(
    r"too (?:large|long|many|big)|exceed|maximum|at most|(?:greater|larger|more|less) than|context",
    re.IGNORECASE,
)
"""Of a refusal that is about a parameter's value: another name for it would not help."""

_OMITTED: Final[Mapping[str, Any]] = {}


@dataclass
class Alternatives:
    """Forms of one parameter, the preferred one first. `named`: words of a refusal that concern the form in use."""

    named: Sequence[str]
    forms: Sequence[Mapping[str, Any]]
    by_size: bool = True
    """Whether a refusal that speaks of a size may mean the parameter itself."""
    used: int = 0

    def concerns(self, said: str) -> bool:
        if not self.by_size and _TOO_MUCH.search(said):
            return False
        words = self.named[min(self.used, len(self.named) - 1)]
        return bool(words) and re.search(words, said, re.IGNORECASE) is not None


@dataclass
class Dialect:
    """What one model's server takes. Threads share it."""

    alternatives: Sequence[Alternatives]
    _lock: Lock = field(default_factory=Lock, repr=False)

    def parameters(self) -> dict[str, Any]:
        return {name: value for one in self.alternatives for name, value in one.forms[one.used].items()}

    def learn(self, said: str, sent: Mapping[str, Any]) -> bool:
        """Whether a refusal in these words leaves something to try. `sent`: the parameters that were refused; where
        another thread has learned since, there is."""
        with self._lock:
            if self.parameters() != sent:
                return True
            concerned = [one for one in self.alternatives if one.concerns(said)]
            left = [one for one in concerned if one.used + 1 < len(one.forms)]
            for one in left:
                one.used += 1
            return bool(left)


def embedding_dialect(dimensions: int | None = None) -> Dialect:
    """`dimensions`: that are asked for; a server that refuses the parameter may have them as its own. Vectors as
    base64 are a quarter of the bytes; some servers know floats only, some not even the parameter."""
    encodings = ({"encoding_format": "base64"}, {"encoding_format": "float"}, _OMITTED)
    alternatives = [Alternatives((r"encoding_format|base64", r"encoding_format"), encodings)]
    if dimensions:
        alternatives.append(Alternatives((r"\bdimensions?\b",), ({"dimensions": dimensions}, _OMITTED)))
    return Dialect(alternatives)


def chat_dialect(max_output_tokens: int, limit: str, temperature: float | str) -> Dialect:
    """`limit`, `temperature`: as the settings of the same names."""
    limits: list[Mapping[str, Any]] = [
        {"max_tokens": max_output_tokens},
        {"max_completion_tokens": max_output_tokens},
        _OMITTED,
    ]
    if limit != "auto":
        limits = [{limit: max_output_tokens}]
    warmth: list[Mapping[str, Any]] = [{"temperature": 0}, _OMITTED]
    if temperature != "auto":
        warmth = [_OMITTED if temperature == "default" else {"temperature": temperature}]
    return Dialect(
        (
            Alternatives((r"\bmax_tokens\b", r"\bmax_completion_tokens\b"), limits, by_size=False),
            Alternatives((r"\btemperature\b",), warmth),
            Alternatives((r"\bstream_options\b|\binclude_usage\b",), ({"stream_options": USAGE}, _OMITTED)),
            Alternatives(
                (r"\bsystem\b.{0,40}\b(?:role|message|prompt)|\brole\b.{0,40}\bsystem\b",), (SYSTEM, USER)
            ),
        )
    )


USAGE: Final = {"include_usage": True}
SYSTEM: Final = {"instructions": "system"}
USER: Final = {"instructions": "user"}
"""Whose message the instructions are: some models know no system's."""
