"""Decides: bytes in, text with Unix line ends out, or None for what is no text. Pure."""

from __future__ import annotations

import codecs
import re

CONTROLS = bytes(set(range(1, 32)) - set(b"\a\b\t\n\v\f\r\x1b"))
_UNWANTED = re.compile(r"[\x00\ud800-\udfff]")


def decode(data: bytes, *, known: bool) -> str | None:
    """Text with Unix line ends and without NUL, or None. `known`: the name says that it is text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return clean(data.decode("utf-16", "replace"))
    if (b"\0" in data and not known) or is_binary(data):
        return None
    try:
        return clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return clean(_guess(data)) if known and b"\0" not in data[:8192] else None


def is_binary(data: bytes) -> bool:
    """A tenth of control characters, whatever the file's name says. NUL is not counted: UTF-16 is full of it."""
    head = data[:8192]
    return (len(head) - len(head.translate(None, CONTROLS))) * 10 > len(head)


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - rarely needed, slow to import

    guesses = list(from_bytes(data[:65536]))
    equally_likely = [
        guess
        for guess in guesses
        if (guess.chaos, guess.coherence) == (guesses[0].chaos, guesses[0].coherence)
    ]
    western = not guesses or any("cp1252" in guess.could_be_from_charset for guess in equally_likely)
    return data.decode("cp1252" if western else guesses[0].encoding, "replace")


def clean(text: str) -> str:
    """Without what PostgreSQL refuses: NUL characters and halves of surrogate pairs."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
