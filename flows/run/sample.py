"""Some texts of many, each as likely as any other, in bounded memory: what the bill of all is told from."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

SAMPLE_TEXTS: Final = 64


@dataclass
class TextSample:
    """`texts`: as embedded, with their tokens by our own count."""

    texts: list[tuple[str, int]] = field(default_factory=list)
    _seen: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 -- no secret

    def place(self) -> int | None:
        """Of the next text in the sample; None: it is not taken, and need not be made."""
        self._seen += 1
        if len(self.texts) < SAMPLE_TEXTS:
            self.texts.append(("", 0))
            return len(self.texts) - 1
        at = self._random.randrange(self._seen)
        return at if at < SAMPLE_TEXTS else None
