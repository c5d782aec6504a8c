"""Decides: the language that a document is in, as a text search configuration of PostgreSQL.

What the document says of itself comes first (`language` or `lang` in its metadata or front matter), then what its
text looks like, then the setting. kreuzberg looks at the text: it is here already, needs no network, and says that it
does not know where others guess; of 956 pages of Prefect's documentation it takes one for another language.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from pgfolio.schema.corpus.languages import SIMPLE, configuration
from pgfolio.schema.markdown import Span, without_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FINGERPRINT = "language-3"

SAMPLE_CHARACTERS = 500
"""Characters of prose, out of six times as many of text: 0.3 ms a document. Twice as many identified no more."""

MIN_LETTERS = 24
"""Of fewer no language is detected."""

MIN_CONFIDENCE = 0.8

_TAG = re.compile(r"<[^<>]*>")
_NAME = re.compile(r"[!-~]*[\\/_=@{}\[\]|][!-~]*")
"""Addresses and names: in ASCII, so that Chinese around a name stays."""
_NAME_SIGN = re.compile(r"[\\/_=@{}\[\]|]")
_MARKS = re.compile(r"[\d#*>|]+")

_CODE = re.compile(r"\w{2,3}(?:[-_]\w+)?|\w+")


def language_of(
    metadata: Mapping[str, Any], text: str, otherwise: str, code_blocks: Sequence[Span] | None = None
) -> str:
    """`otherwise`: where neither says; `code_blocks`: those of the text, where they are known."""
    for key in ("language", "lang"):
        declared = metadata.get(key)
        if isinstance(declared, str) and _CODE.fullmatch(declared.strip()):
            return configuration(declared) or SIMPLE
    code = _detected(text, code_blocks)
    if code is None:
        return otherwise
    return configuration(code) or SIMPLE


def _detected(text: str, code_blocks: Sequence[Span] | None) -> str | None:
    """An ISO 639-3 code, or None for too little text and for text that is in no language for certain."""
    size = SAMPLE_CHARACTERS * 6
    if code_blocks is not None:
        code_blocks = [Span(start, min(end, size)) for start, end in code_blocks if start < size]
    prose = _prose(without_code(text[:size], code_blocks))[:SAMPLE_CHARACTERS]
    if sum(map(str.isalpha, prose)) < MIN_LETTERS:
        return None
    import kreuzberg  # noqa: PLC0415 -- 0.1 s that a no-op sync must not pay

    try:
        result = kreuzberg.extract_bytes_sync(prose.encode("utf-8", "replace"), "text/plain", _config())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 -- a panic of the Rust library is not an Exception
        return None
    return result.detected_languages[0] if result.detected_languages else None


def _prose(text: str) -> str:
    """Without tags, addresses, names, numbers and marks."""
    text = _TAG.sub(" ", text)
    if text.isascii():  # the same in a third of the time
        text = " ".join(word for word in text.split() if not _NAME_SIGN.search(word))
    else:
        text = _NAME.sub(" ", text)
    return " ".join(_MARKS.sub(" ", text).split())


@cache
def _config() -> Any:
    from kreuzberg import ExtractionConfig, LanguageDetectionConfig  # noqa: PLC0415

    detection = LanguageDetectionConfig(enabled=True, min_confidence=MIN_CONFIDENCE, detect_multiple=False)
    return ExtractionConfig(use_cache=False, language_detection=detection)
