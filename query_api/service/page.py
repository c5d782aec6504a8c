"""The page for people: one HTML file with its modules and styles, which ask the API as any client does. They ship in
the package and say nothing of what is kept, so that whoever may not read may load them, and sign in."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from litestar import get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath  # noqa: TC002 -- litestar reads it
from litestar.response import Response

from pgfolio.query_api.auth.guard import PUBLIC
from pgfolio.query_api.service.requests import AnyRequest  # noqa: TC001 -- litestar reads it

FOLDER: Final = Path(__file__).parents[1] / "page"
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""Nothing of elsewhere is loaded, nothing inline runs, no text becomes markup; a new version is seen at once."""

GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?:,|$|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))")
VIEWS: Final = ["/", "/d/{document:int}", "/sources", "/trace/{trace:str}", "/access"]


@dataclass(frozen=True, slots=True)
class PageFile:
    """`packed`: by gzip."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> PageFile:
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        return cls(content, gzip.compress(content, mtime=0), MEDIA_TYPES[path.suffix], etag)


FILES: Final = {
    path.relative_to(FOLDER).as_posix(): PageFile.read(path)
    for path in sorted(FOLDER.rglob("*"))
    if path.suffix in MEDIA_TYPES
}


@get(VIEWS, opt=PUBLIC, include_in_schema=False)
async def view(request: AnyRequest) -> Response[bytes]:
    """Every view is the same file, which reads its address."""
    return _answer(request, FILES["index.html"])


@get("/page/{name:path}", opt=PUBLIC, include_in_schema=False)
async def page_file(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
    file = FILES.get(str(name).lstrip("/"))
    if file is None:
        raise NotFoundException(detail="there is no such file of the page")
    return _answer(request, file)


def _answer(request: AnyRequest, file: PageFile) -> Response[bytes]:
    packed = _takes_gzip(request.headers.get("accept-encoding", ""))
    headers: dict[str, Any] = {**HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.content, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    """Whether it is named, and not with the weight 0 (RFC 9110, 12.5.3)."""
    return GZIP.search(accepted.casefold()) is not None
