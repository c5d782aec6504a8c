"""A server on loopback that speaks as much of S3 as a source asks for, and fails when it is told to."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "bucket"


@dataclass
class Bucket:
    """Its objects by key, and what goes wrong."""

    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    page_size: int = 1000
    requests: list[str] = field(default_factory=list)
    """As "GET key", "HEAD key" and "LIST prefix"."""
    bare_tags: bool = False
    """Listings have entity tags without the quotes that answers have, as Azure's do."""
    refused: bool = False
    listing_ends_after: int | None = None
    """Pages, after which every one fails."""
    hidden: bool = False
    """Listings are empty though they succeed."""
    hidden_prefix: str | None = None
    """Listings leave out what is below it."""
    throttled: int = 0
    """So many requests are told to slow down."""
    broken_reads: bool = False
    expires_after: int | None = None
    """Requests, after which the credentials have expired."""
    expired_status: int = 400

    def put(self, key: str, data: bytes | str, moment: datetime | None = None) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self.objects[key] = (raw, moment or datetime.now(UTC))

    def of(self, kind: str) -> list[str]:
        """The requests of a kind so far, which are forgotten."""
        found = [request for request in self.requests if request.startswith(kind)]
        self.requests.clear()
        return found


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 -- as S3 does


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        name, _, key = unquote(address.path).lstrip("/").partition("/")
        self.bucket.requests.append(
            f"LIST {query.get('prefix', '')}" if "list-type" in query else f"{self.command} {key}"
        )
        if self.bucket.throttled > 0:
            self.bucket.throttled -= 1
            self._error(503, "SlowDown")
        elif self.bucket.expires_after is not None and len(self.bucket.requests) > self.bucket.expires_after:
            self._error(self.bucket.expired_status, "ExpiredToken")
        elif self.bucket.refused:
            self._error(403, "AccessDenied")
        elif name != BUCKET:
            self._error(404, "NoSuchBucket")
        elif "list-type" in query:
            self._list(query)
        else:
            self._object(key)

    do_HEAD = do_GET  # noqa: N815 -- as the library calls it

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys = sorted(key for key in self.bucket.objects if key.startswith(prefix) and self._is_listed(key))
        folders = sorted(
            {prefix + rest.partition("/")[0] + "/" for key in keys if "/" in (rest := key[len(prefix) :])}
            if delimiter
            else ()
        )
        if delimiter:
            keys = [key for key in keys if "/" not in key[len(prefix) :]]
        begin = int(query.get("continuation-token", 0))
        page = begin // self.bucket.page_size
        if self.bucket.listing_ends_after is not None and page >= self.bucket.listing_ends_after:
            self._error(400, "InternalError")
            return
        end = begin + self.bucket.page_size
        contents = "".join(self._entry(key) for key in keys[begin:end])
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders
        )
        more = end < len(keys)
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{contents}{prefixes}</ListBucketResult>".encode(),
        )

    def _is_listed(self, key: str) -> bool:
        hidden = self.bucket.hidden_prefix
        return not self.bucket.hidden and (hidden is None or not key.startswith(hidden))

    def _entry(self, key: str) -> str:
        data, moment = self.bucket.objects[key]
        stamp = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        tag = etag(data).strip('"') if self.bucket.bare_tags else etag(data)
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{stamp}</LastModified>"
            f"<ETag>{escape(tag)}</ETag><Size>{len(data)}</Size></Contents>"
        )

    def _object(self, key: str) -> None:
        if key not in self.bucket.objects:
            self._error(404, "NoSuchKey")
            return
        if self.bucket.broken_reads and self.command == "GET":
            self._error(500, "InternalError")
            return
        data, moment = self.bucket.objects[key]
        headers = {"ETag": etag(data), "Last-Modified": format_datetime(moment.astimezone(UTC), usegmt=True)}
        self._answer(200, data, headers)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def s3_server() -> Iterator[tuple[Bucket, str]]:
    """An empty bucket, and the endpoint's address."""
    bucket = Bucket()
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
