"""Mails (EML), mailboxes (MBOX) and saved pages (MHTML), by the standard library's `email`.

Of a mail: its head, its text, and what is attached to it, as far as we read such files.
"""

from __future__ import annotations

import email
import re
from email import policy
from email.header import decode_header
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Final

from pgfolio.flows.extraction import charset, web
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

MAX_PARTS: Final = 500
MAX_DEPTH: Final = 12
MAX_ATTACHMENTS: Final = 50
MAX_ATTACHED_BYTES: Final = 32 * 1024 * 1024
"""Of all attachments of a file together that are read."""

HEAD: Final = ("From", "To", "Cc", "Date")
NO_TEXT: Final = frozenset(
    {"application/pkcs7-signature", "application/pgp-signature", "application/ms-tnef"}
)
_FROM_LINE: Final = re.compile(rb"(?:\A|\n\r?\n)(?=From [^\n]*\d{2}:\d{2}[^\n]*\n|From [^\n]*\n[\w-]+:)")


def read(data: bytes, attached: Callable[[str, bytes], str]) -> Reading:
    """A mail. `attached` gives the text of an attached file by its name. Raises Unextractable."""
    return read_message(email.message_from_bytes(data, policy=policy.compat32), attached)


def read_message(message: Message, attached: Callable[[str, bytes], str]) -> Reading:
    """The same of a mail that is a message already."""
    out = Writer()
    reader = _MailReader(attached)
    reader.head(message, out)
    reader.body(message, out, 0)
    return Reading(out.text(), _properties(message, reader.names))


def read_mailbox(data: bytes, attached: Callable[[str, bytes], str]) -> Reading:
    """Each mail under its subject as a heading."""
    out = Writer()
    reader = _MailReader(attached)
    for part in _mails(data):
        message = email.message_from_bytes(part, policy=policy.compat32)
        out.heading(2, header(message, "Subject") or "(no subject)")
        reader.head(message, out)
        reader.body(message, out, 0)
    return Reading(out.text())


def read_saved_page(data: bytes) -> Reading:
    """The page, and those that are framed in it."""
    message = email.message_from_bytes(data, policy=policy.compat32)
    out = Writer()
    properties: dict[str, Any] = {}
    for part in message.walk():
        if part.get_content_type() in ("text/html", "application/xhtml+xml"):
            page = web.read_text(_page(part))
            out.verbatim(page.text)
            properties = properties or page.properties
    if subject := header(message, "Subject"):
        properties.setdefault("title", subject)
    return Reading(out.text(), properties)


def header(message: Message, name: str) -> str:
    """In one line, decoded, whatever is wrong with it."""
    value = message.get(name)
    if value is None:
        return ""
    try:
        parts = decode_header(value)
    except Exception:  # noqa: BLE001 - the standard library raises several for encoded words that are none
        parts = [(str(value), None)]
    words = (part if isinstance(part, str) else charset.text_of(part, label) for part, label in parts)
    text = "".join(words)
    if any("\udc80" <= sign <= "\udcff" for sign in text):
        text = charset.text_of(text.encode("utf-8", "surrogateescape"), None)
    return " ".join(text.split())


class _MailReader:
    """What is left of the bounds of one file."""

    def __init__(self, attached: Callable[[str, bytes], str]) -> None:
        self._attached = attached
        self._parts = MAX_PARTS
        self._files = MAX_ATTACHMENTS
        self._bytes = MAX_ATTACHED_BYTES
        self.names: list[str] = []

    def head(self, message: Message, out: Writer) -> None:
        lines = [("Subject", header(message, "Subject")), *((name, header(message, name)) for name in HEAD)]
        out.paragraph("\n".join(f"{name}: {value}" for name, value in lines if value))

    def body(self, message: Message, out: Writer, depth: int) -> None:
        self._parts -= 1
        if self._parts < 0 or depth > MAX_DEPTH:
            return
        kind = message.get_content_type()
        name = _file_name(message)
        if kind == "message/rfc822":
            self._forwarded(message, out, depth)
        elif message.is_multipart():
            self._parts_of(message, out, depth)
        elif kind in NO_TEXT:
            return
        elif message.get_content_disposition() == "attachment" or (name and not _is_text(kind)):
            self._attachment(name, message, out)
        elif kind in ("text/html", "application/xhtml+xml"):
            out.verbatim(web.read_text(_page(message)).text)
        elif kind.startswith("text/"):
            if name:
                out.heading(3, name)
            out.verbatim(_text(message))

    def _parts_of(self, message: Message, out: Writer, depth: int) -> None:
        parts = _children(message)
        if message.get_content_type() == "multipart/alternative":
            parts = self._preferred(parts, depth)
        for part in parts:
            self.body(part, out, depth + 1)

    def _preferred(self, parts: list[Message], depth: int) -> list[Message]:
        """The plain text, unless the page says much more."""
        texts: dict[int, str] = {}
        for index, part in enumerate(parts):
            inner = Writer()
            probe = _MailReader(self._attached)
            probe._files, probe._parts = 0, self._parts
            probe.body(part, inner, depth + 1)
            self._parts = probe._parts
            texts[index] = inner.text()
        if not texts:
            return []
        words = {index: len(text.split()) for index, text in texts.items()}
        best = next((index for index in words if words[index] * 2 >= max(words.values())), 0)
        calendars = [
            part for part in parts if part.get_content_type() == "text/calendar" and part is not parts[best]
        ]
        return [parts[best], *calendars]

    def _forwarded(self, message: Message, out: Writer, depth: int) -> None:
        for inner in _children(message):
            out.heading(3, header(inner, "Subject") or "(no subject)")
            self.head(inner, out)
            self.body(inner, out, depth + 1)

    def _attachment(self, name: str, message: Message, out: Writer) -> None:
        data = _payload(message)
        if name:
            self.names.append(name)
        self._files -= 1
        self._bytes -= len(data)
        if self._files < 0 or self._bytes < 0:
            return
        kind = message.get_content_type()
        try:
            if kind.startswith("text/") and kind not in ("text/html", "text/rtf", "text/csv"):
                text = _text(message)
            else:
                text = self._attached(name or f"part{SUFFIXES.get(kind, '')}", data)
        except Unextractable:
            text = ""
        out.heading(3, name)
        out.verbatim(text)


SUFFIXES: Final = {"text/html": ".html", "application/pdf": ".pdf", "text/rtf": ".rtf", "text/csv": ".csv"}


def _children(message: Message) -> list[Message]:
    parts: Any = message.get_payload()
    return list(parts) if isinstance(parts, list) else []


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") and kind not in ("text/csv", "text/rtf")


def _file_name(message: Message) -> str:
    name = message.get_filename()
    if not name:
        return ""
    holder = email.message.Message()
    holder["Name"] = name
    return header(holder, "Name").replace("/", "_")


def _payload(message: Message) -> bytes:
    try:
        data = message.get_payload(decode=True)
    except (ValueError, LookupError):
        return b""
    return data if isinstance(data, bytes) else b""


def _charset(message: Message) -> str | None:
    try:
        return message.get_content_charset()
    except (LookupError, ValueError):
        return None


def _text(message: Message) -> str:
    return charset.text_of(_payload(message), _charset(message))


def _page(message: Message) -> str:
    """What the mail says of the page's charset counts more than what the page says."""
    label = _charset(message)
    data = _payload(message)
    return charset.text_of(data, label) if label and label != "us-ascii" else charset.page(data)


def _mails(data: bytes) -> Iterator[bytes]:
    starts = [match.end() for match in _FROM_LINE.finditer(data)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        body = data[start:end].partition(b"\n")[2]
        yield re.sub(rb"(?m)^>(>*From )", rb"\1", body)


def _properties(message: Message, names: list[str]) -> dict[str, Any]:
    subject = header(message, "Subject")
    found: dict[str, Any] = {"title": subject, "subject": subject} if subject else {}
    sender = header(message, "From")
    if sender:
        found["from_email"] = sender
        if name := getaddresses([sender])[0][0]:
            found["from_name"] = name
    for key, field in (("to_emails", "To"), ("cc_emails", "Cc")):
        if people := [address for _, address in getaddresses([header(message, field)]) if address]:
            found[key] = people
    if date := header(message, "Date"):
        found["created_at"] = date
    if names:
        found["attachments"] = names
    return found
