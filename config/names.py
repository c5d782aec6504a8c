"""The one rule of what sources, collections, keys and prompts may be called. Pure.

What was stored under another name before there was the rule is read, listed and searched as ever.
"""

from __future__ import annotations

from typing import Final

from pgfolio.config.errors import ConfigError

MAX_NAME_CHARACTERS: Final = 100
RULE: Final = (
    f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters in one line, without spaces at its ends"
)


class WrongNameError(ConfigError, ValueError):
    """A name that cannot be given; the message says what and why."""


def check_name(kind: str, name: str, *, slash: bool = True) -> str:
    """The name. `kind`: what it is of. `slash`: whether it may have one. Raises WrongNameError."""
    if _is_right(name) and (slash or "/" not in name):
        return name
    without = "" if slash else ", and without a slash"
    raise WrongNameError(f"the {kind} cannot be called {name[:200]!r}: {RULE}{without}")


def named_after(text: str) -> str:
    """A name for what somebody else named, as near to it as the rule allows."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.replace("/", " ").split())[: MAX_NAME_CHARACTERS - 10].strip() or "root"


def _is_right(name: str) -> bool:
    """Neither control characters nor marks that turn the direction of what follows are printable."""
    return 1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable() and name == name.strip()
