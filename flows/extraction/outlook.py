"""Outlook's mails (MSG): made into what Python's `email` has, which mail.py reads ([MS-OXMSG], [MS-OXPROPS]).

So the same mail has the same text, whether it was saved as EML or as MSG.
"""

from __future__ import annotations

import email
import struct
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import Message
from email.utils import format_datetime, formataddr
from typing import TYPE_CHECKING, Final

from pgfolio.flows.extraction import mail, rich_text
from pgfolio.flows.extraction.charset import text_of
from pgfolio.flows.extraction.compound import Compound, codec_of
from pgfolio.flows.extraction.compressed_rtf import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.flows.extraction.reading import Reading

SUBJECT, HEADERS, BODY, RICH_BODY, PAGE = 0x37, 0x7D, 0x1000, 0x1009, 0x1013
SENDER, SENDER_ADDRESS, SENDER_SMTP, SENT_FOR, SENT_FOR_ADDRESS = 0x0C1A, 0x0C1F, 0x5D01, 0x42, 0x65
DISPLAY_TO, DISPLAY_CC, SENT_AT, RECEIVED_AT, CLASS = 0x0E04, 0x0E03, 0x39, 0x0E06, 0x1A
NAME, ADDRESS, SMTP_ADDRESS, RECIPIENT_KIND = 0x3001, 0x3003, 0x39FE, 0x0C15
FILE, LONG_FILE_NAME, FILE_NAME, FILE_KIND = 0x3701, 0x3707, 0x3704, 0x370E
BODY_CODE_PAGE, STRING_CODE_PAGE = 0x3FDE, 0x3FFD
CONTACT: Final = range(0x3A00, 0x3A65)
"""Phones, addresses, company: of a contact they are what is seen."""

UNICODE, OCTETS, BINARY, STORAGE = 0x1F, 0x1E, 0x102, 0x0D
RECIPIENT, ATTACHMENT, EMBEDDED = "__recip_version1.0_", "__attach_version1.0_", "__substg1.0_3701000D"
PROPERTIES: Final = "__properties_version1.0"
KINDS: Final = {1: "To", 2: "Cc"}
EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


def read(data: bytes, attached: Callable[[str, bytes], str]) -> Reading:
    """A mail. `attached` gives the text of an attached file by its name. Raises Unextractable, and OSError for what
    is no compound file."""
    return mail.read_message(_Mails(Compound(data)).message((), 0), attached)


class _Mails:
    """Of a file: the mail, and those that are attached to it."""

    def __init__(self, compound: Compound) -> None:
        self._compound = compound
        self._storages: dict[tuple[str, ...], list[str]] = {}
        seen = set()
        for path in compound.names():
            for depth in range(1, len(path)):
                place = tuple(path[:depth])
                if place not in seen:
                    seen.add(place)
                    self._storages.setdefault(place[:-1], []).append(place[-1])
        self._files = mail.MAX_ATTACHMENTS
        self._bytes = mail.MAX_ATTACHED_BYTES

    def message(self, place: tuple[str, ...], depth: int) -> Message:
        item = _Item(self._compound, place, 24 if depth else 32)
        message = email.message_from_string(item.text(HEADERS), policy=policy.compat32)
        head = _head(message, item, self._recipients(place, item))
        made = Message()
        for name, value in head.items():
            made[name] = " ".join(value.split())
        made["Content-Type"] = "multipart/mixed"
        made.set_payload([_body(item), *self._attachments(place, item, depth)])
        return made

    def _recipients(self, place: tuple[str, ...], message: _Item) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self._storages.get(place, ())):
            if name.startswith(RECIPIENT):
                item = _Item(self._compound, (*place, name), 8, message.code_page)
                kind = KINDS.get(item.number(RECIPIENT_KIND), "")
                found.setdefault(kind, []).append(
                    _address(item.text(NAME), item.text(SMTP_ADDRESS) or item.text(ADDRESS))
                )
        return found

    def _attachments(self, place: tuple[str, ...], message: _Item, depth: int) -> Iterator[Message]:
        for name in sorted(self._storages.get(place, ())):
            inside = (*place, name)
            if not name.startswith(ATTACHMENT):
                continue
            if EMBEDDED in self._storages.get(inside, ()):
                if depth < mail.MAX_DEPTH:
                    part = Message()
                    part["Content-Type"] = "message/rfc822"
                    part.set_payload([self.message((*inside, EMBEDDED), depth + 1)])
                    yield part
                continue
            self._files -= 1
            if self._files >= 0:
                yield self._file(_Item(self._compound, inside, 8, message.code_page))

    def _file(self, item: _Item) -> Message:
        kind = item.text(FILE_KIND).lower()
        data = item.octets(FILE) if self._bytes > 0 else b""
        self._bytes -= len(data)
        if kind.startswith("multipart/"):
            return email.message_from_bytes(data, policy=policy.compat32)
        name = item.text(LONG_FILE_NAME) or item.text(FILE_NAME) or item.text(NAME)
        part = Message()
        part["Content-Type"] = kind if kind.count("/") == 1 else "application/octet-stream"
        part.add_header("Content-Disposition", "attachment", filename=" ".join(name.split()))
        part.set_payload(data)
        return part


class _Item:
    """The properties of a mail, of a recipient or of an attachment, by their numbers."""

    def __init__(
        self, compound: Compound, place: tuple[str, ...], head_bytes: int, code_page: str | None = None
    ) -> None:
        self._compound, self._place = compound, place
        self._values: dict[int, bytes] = {}
        table = compound.stream(*place, PROPERTIES)
        for start in range(head_bytes, len(table) - 15, 16):
            _, number, _, value = struct.unpack_from("<HHI8s", table, start)
            self._values.setdefault(number, value)
        self.code_page = code_page or codec_of(
            self.number(STRING_CODE_PAGE) or self.number(BODY_CODE_PAGE) or 1252
        )
        self.body_code_page = codec_of(self.number(BODY_CODE_PAGE)) if self.number(BODY_CODE_PAGE) else None

    def number(self, number: int) -> int:
        return int.from_bytes(self._values.get(number, b"")[:4], "little")

    def moment(self, number: int) -> str:
        """As mails write it; empty where there is none."""
        ticks = int.from_bytes(self._values.get(number, b""), "little")
        try:
            return format_datetime(EPOCH + timedelta(microseconds=ticks // 10)) if ticks else ""
        except OverflowError:
            return ""

    def text(self, number: int) -> str:
        if wide := self._stream(number, UNICODE):
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        return text_of(self._stream(number, OCTETS).rstrip(b"\0"), self.code_page)

    def octets(self, number: int) -> bytes:
        return self._stream(number, BINARY)

    def _stream(self, number: int, kind: int) -> bytes:
        return self._compound.stream(*self._place, f"__substg1.0_{number:04X}{kind:04X}")


def _head(headers: Message, item: _Item, recipients: dict[str, list[str]]) -> dict[str, str]:
    """What the mail came with where it has been sent, else what Outlook knows."""
    sender = _address(
        item.text(SENDER) or item.text(SENT_FOR),
        item.text(SENDER_SMTP) or item.text(SENDER_ADDRESS) or item.text(SENT_FOR_ADDRESS),
    )
    known = {
        "From": sender,
        "To": ", ".join(recipients.get("To", ())) or item.text(DISPLAY_TO),
        "Cc": ", ".join(recipients.get("Cc", ())) or item.text(DISPLAY_CC),
        "Date": item.moment(SENT_AT) or item.moment(RECEIVED_AT),
    }
    said = {name: mail.header(headers, name) or value for name, value in known.items()}
    return {"Subject": item.text(SUBJECT) or mail.header(headers, "Subject"), **said}


def _address(name: str, address: str) -> str:
    """Addresses of an Exchange server are no one's to read."""
    name = name.strip("'\" ")
    if "@" not in address:
        return name
    return formataddr((name, address)) if name and name.casefold() != address.casefold() else address


def _body(item: _Item) -> Message:
    plain, page = item.text(BODY), item.octets(PAGE)
    if not plain and not page and (rich := unpacked(item.octets(RICH_BODY))):
        plain = rich_text.read(rich).text
    if item.text(CLASS).casefold().startswith("ipm.contact"):
        plain = "\n".join(filter(None, [plain, *map(item.text, CONTACT)]))
    parts: list[Message | str] = [_part("text/plain", plain)] if plain else []
    if page:
        parts.append(_page(page, item.body_code_page))
    elif text := item.text(PAGE):
        parts.append(_part("text/html", text))
    body = Message()
    body["Content-Type"] = "multipart/alternative"
    body.set_payload(parts)
    return body


def _part(kind: str, text: str) -> Message:
    part = Message()
    part["Content-Type"] = f"{kind}; charset=utf-8"
    part.set_payload(text.encode("utf-8", "replace"))
    return part


def _page(data: bytes, code_page: str | None) -> Message:
    part = Message()
    part["Content-Type"] = f"text/html; charset={code_page}" if code_page else "text/html"
    part.set_payload(data)
    return part
