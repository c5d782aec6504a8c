"""Decides: bytes in, text with Unix line ends out, or None for what is no text. Pure.

A mark at the beginning, zero bytes and valid UTF-8 each prove an encoding. What is UTF-8 but for a few bytes is UTF-8
with a replacement character for each of them. Only then is one guessed, from all lines that tell them apart.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgfolio.schema.markdown import Span

CONTROLS: Final = bytes(set(range(1, 32)) - set(b"\a\b\t\n\v\f\r\x1b"))
MARKS: Final = (  # the longer first: one begins with another
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES: Final = 64 * 1024
"""Bytes from which an encoding is told."""

MIN_ASCII: Final = 0.7
"""Of a text under a name that is none of a text, in an encoding that can only be guessed."""

MAX_CRLF_PARTS: Final = 1000

LATIN: Final = frozenset(
    """
    cp1250 cp1252 cp1254 cp1257 cp1258 cp850 cp852 iso8859-15 iso8859-2 iso8859-9 mac-roman
    """.split()  # noqa: SIM905
)
OTHER_SCRIPTS: Final = frozenset(
    """
    big5hkscs cp1251 cp1253 cp1255 cp1256 cp866 cp874 cp932 cp949 euc_jis_2004 gb18030 iso8859-5 iso8859-7 iso8859-8
    koi8-r koi8-u mac-cyrillic
    """.split()  # noqa: SIM905
)
RARE: Final = frozenset({"mac-roman", "cp850", "cp852", "cp1258", "mac-cyrillic", "iso8859-15"})
USUAL_BONUS, RARE_MALUS, SCRIPT_MALUS, TIE_BONUS = 0.01, 0.02, 0.3, 0.001
"""Of a guess's confidence. Chosen on 2,250 pieces of 12 to 1,500 letters of Django's and Sphinx's translations, in 45
pairs of language and encoding: 2,174 were read right, by the library alone 2,136."""

_UNWANTED = re.compile(r"[\x00\ud800-\udfff]")
_C1 = re.compile(rb"[\x80-\x9f]")
"""Letters in cp1250, nothing in ISO-8859-2: what else differs is few."""
_HIGH = re.compile(rb"[\x80-\xff]")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]{1,100}")
_LINE_END = re.compile(r"\r\n|\r|\n")
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")
_ASCII = bytes(range(0x80))
_NO_UTF8_LEAD = bytes(set(range(256)) - set(range(0xC2, 0xF5)))


@dataclass(frozen=True, slots=True)
class Decoded:
    """`replaced`: bytes for which a replacement character stands. `crlf`: the parts of `text` whose lines end with
    two characters in the file; None where text and file cannot be put side by side."""

    text: str
    replaced: int = 0
    crlf: tuple[Span, ...] | None = ()


def decode(data: bytes, *, known: bool) -> str | None:
    """Text with Unix line ends and without NUL, or None. `known`: the name says that it is text."""
    found = decoded(data, known=known)
    return None if found is None else found.text


def decoded(data: bytes, *, known: bool) -> Decoded | None:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _cleaned(data, encoding)
    if b"\0" in data[:SAMPLE_BYTES] and (wide := _wide(data)):
        return _cleaned(data[: len(data) // wide.width * wide.width], wide.encoding)
    if (b"\0" in data and not known) or is_binary(data):
        return None
    if _ISO_2022_JP.search(data) and data.isascii():
        return _cleaned(data, "iso2022_jp_2")
    try:
        return _cleaned(data, "utf-8", "strict")
    except UnicodeDecodeError as error:
        if _is_nearly_utf8(data, error):
            return _cleaned(data, "utf-8")
    if b"\0" in data[:8192] or not (known or _is_mostly_ascii(data)):
        return None
    return _cleaned(data, guessed(data))


def is_binary(data: bytes) -> bool:
    """A tenth of control characters, whatever the file's name says. NUL is not counted: UTF-16 is full of it."""
    head = data[:8192]
    return (len(head) - len(head.translate(None, CONTROLS))) * 10 > len(head)


def clean(text: str) -> str:
    """Without what PostgreSQL refuses: NUL characters and halves of surrogate pairs."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():  # known at once, where looking at each letter takes as long as reading all else of it
        return text.replace("\0", "") if "\0" in text else text
    return _UNWANTED.sub("", text)


def guessed(data: bytes) -> str:
    """The encoding that bytes beyond ASCII are most probably in: what their frequencies say (chardet), the usual one
    where several say the same, of the script that the words are in."""
    from chardet import detect_all  # noqa: PLC0415 -- rarely needed, slow to import

    sample = _telling(data)
    latin, controls = _is_latin(sample), _C1.search(sample)
    best, highest = "cp1252", -1.0
    for guess in detect_all(
        sample,
        include_encodings=["iso8859-1", *LATIN, *OTHER_SCRIPTS],
        compat_names=False,
        ignore_threshold=True,
    ):
        name = codecs.lookup(guess["encoding"] or "cp1252").name
        name = "cp1252" if name == "iso8859-1" else name
        score = guess["confidence"] + USUAL_BONUS * (name == "cp1252") - RARE_MALUS * (name in RARE)
        score -= SCRIPT_MALUS * (latin is not None and latin != (name in LATIN))
        score += TIE_BONUS * (name == "iso8859-2" and not controls)
        if score > highest and _decodes(sample, name):
            best, highest = name, score
    return best


def _telling(data: bytes) -> bytes:
    """The lines with bytes beyond ASCII, wherever they stand."""
    if len(data) <= SAMPLE_BYTES:
        return data
    parts, size, position = [], 0, 0
    while size < SAMPLE_BYTES and (high := _HIGH.search(data, position)):
        start = max(data.rfind(b"\n", position, high.start()) + 1, high.start() - 1000, position)
        end = data.find(b"\n", high.end(), high.end() + 1000) + 1 or min(high.end() + 1000, len(data))
        parts.append(data[start:end])
        size, position = size + end - start, end
    return b"".join(parts) or data[:SAMPLE_BYTES]


def _is_latin(sample: bytes) -> bool | None:
    """Whether accented letters stand alone between others, as in Latin script, or words are all beyond ASCII."""
    words = [(len(word), len(_HIGH.findall(word))) for word in _WORD.findall(sample) if _HIGH.search(word)]
    accented = sum(letters > 1 and high * 2 <= letters for letters, high in words)
    beyond = sum(letters > 2 and high * 4 >= letters * 3 for letters, high in words)
    return None if accented == beyond else accented > beyond


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3  # the sample ends in a character
    return True


class _Wide(NamedTuple):
    encoding: str
    width: int
    """Bytes."""


def _wide(data: bytes) -> _Wide | None:
    """UTF-16 or UTF-32 without a mark, by where the zeros are."""
    head = data[: min(SAMPLE_BYTES, len(data) // 4 * 4)]
    quarter = len(head) // 4
    zeros = [head[place::4].count(0) for place in range(4)]
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if min(zeros[2:]) > 0.9 * quarter:
        wide = _Wide("utf-32-le", 4)
    elif min(zeros[:2]) > 0.9 * quarter:
        wide = _Wide("utf-32-be", 4)
    elif odd > max(0.02 * quarter, 10 * even):
        wide = _Wide("utf-16-le", 2)
    elif even > max(0.02 * quarter, 10 * odd):
        wide = _Wide("utf-16-be", 2)
    else:
        return None
    text = head.decode(wide.encoding, "replace")
    if not any(map(str.isspace, text)):
        return None
    unlikely = sum(unicodedata.category(letter)[0] == "C" and letter not in "\t\n\r\f" for letter in text)
    return wide if (unlikely + text.count("\ufffd")) * 100 <= len(text) else None


def _is_nearly_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    """Whether at least half of what is beyond ASCII is valid, or all but the cut end."""
    if error.start >= len(data) - 3 and error.reason == "unexpected end of data":
        return True
    leads = len(data.translate(None, _NO_UTF8_LEAD))
    bad = _replacements(data, data.decode("utf-8", "replace"))
    return leads - bad >= bad


def _replacements(data: bytes, text: str) -> int:
    return text.count("\ufffd") - data.count("\ufffd".encode())


def _is_mostly_ascii(data: bytes) -> bool:
    if len(data.translate(None, CONTROLS)) * 1000 < len(data) * 999:
        return False
    return len(data) - len(data.translate(None, _ASCII)) >= MIN_ASCII * len(data)


def _cleaned(data: bytes, encoding: str, errors: str = "replace") -> Decoded:
    raw = data.decode(encoding, errors)
    text = clean(raw)
    if errors == "strict" or "\ufffd" not in text:
        replaced = 0
    else:
        replaced = _replacements(data, raw) if encoding.startswith("utf-8") else text.count("\ufffd")
    return Decoded(text, replaced, _crlf(raw, text))


def _crlf(raw: str, text: str) -> tuple[Span, ...] | None:
    ends = raw.count("\r\n")
    if len(text) != len(raw) - ends:
        return None
    if not ends:
        return ()
    if ends == text.count("\n"):
        return (Span(0, len(text)),)
    parts: list[Span] = []
    before, last_was = 0, False
    for end in _LINE_END.finditer(raw):
        two, following = len(end[0]) == 2, end.start() - before + 1
        if two and last_was:
            parts[-1] = Span(parts[-1].start, following)
        elif two:
            parts.append(Span(following - 1, following))
        if len(parts) > MAX_CRLF_PARTS:
            return None
        before, last_was = before + two, two
    return tuple(parts)
