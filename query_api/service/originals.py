"""`GET /documents/{id}/original` and `GET /documents/{id}/pages/{n}.png`: the file itself, and a page of a PDF with
the passage marked."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.response import Response, Stream

from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.originals.disposition import attachment, media_type
from pgfolio.query_api.originals.original import Original, open_original
from pgfolio.query_api.originals.passage import occurrences
from pgfolio.query_api.originals.pictures import MAX_FILE_BYTES, NoSuchPageError, NotDrawnError, PageOrder
from pgfolio.query_api.service.problems import UnknownDocumentError
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, services, stored_id
from pgfolio.query_api.service.strict_body import WrongFieldError
from pgfolio.schema.search import originals
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from pgfolio.query_api.originals.drawing import Drawn
    from pgfolio.query_api.originals.pictures import Pictures
    from pgfolio.schema.search.originals import StoredOriginal, StoredPage

MAX_OFFSET: Final = 2**31 - 2
MEGABYTE: Final = 1024 * 1024
MISSING = {**PROBLEMS, 404: PROBLEM, 409: PROBLEM}
BYTES = ResponseSpec(bytes, description="The file as it was stored", media_type="application/octet-stream")
PICTURE = ResponseSpec(bytes, description="The page", media_type="image/png")
SANDBOX = {"Content-Security-Policy": "sandbox"}


@get(
    "/documents/{document_id:int}/original",
    opt=READ,
    responses={**MISSING, 200: BYTES},
    summary="The document's file",
)
async def original(request: AnyRequest, document_id: FromPath[int]) -> Stream:
    """Byte for byte what was stored: a file that has changed since is a 409, one that is not here a 404."""
    stored = await _stored(request, document_id)
    opened = await _opened(request, stored)
    name = stored.name or PurePosixPath(stored.path).name
    headers = {
        **SANDBOX,
        "Content-Disposition": attachment(name),
        "Content-Length": str(opened.size),
    }
    return Stream(opened.parts(), media_type=media_type(stored.mime), headers=headers)


@get(
    "/documents/{document_id:int}/pages/{page:str}",
    opt=READ,
    responses={**MISSING, 200: PICTURE},
    summary="A page of a PDF as a picture",
)
async def page_picture(
    request: AnyRequest,
    document_id: FromPath[int],
    page: FromPath[str],
    width: Annotated[int, QueryParameter(ge=100, le=2000)] = 1000,
    start: Annotated[int | None, QueryParameter(ge=0, le=MAX_OFFSET)] = None,
    end: Annotated[int | None, QueryParameter(ge=0, le=MAX_OFFSET)] = None,
) -> Response[bytes]:
    """`page` is the page's number, from 1, and `.png`; the passage from `start` to `end` of the stored text is
    marked, and `X-Passage` says whether it stands there: `marked` or `not-found`."""
    number = _number(page)
    if (start is None) != (end is None) or (start is not None and end is not None and end <= start):
        raise WrongFieldError("`start` and `end` are given together, and `end` is the larger")
    stored = await _page(request, document_id, start or 0, end or 0)
    passage = stored.passage
    order = PageOrder(stored.content_hash, number, width, passage, occurrences(stored.text_before, passage))
    drawn = await _drawn(request, document_id, order)
    headers = {**SANDBOX, "X-Passage": "marked" if drawn.is_marked else "not-found"}
    return Response(drawn.png, media_type="image/png", headers=headers if passage else SANDBOX)


async def _drawn(request: AnyRequest, document_id: int, order: PageOrder) -> Drawn:
    pictures: Pictures = request.app.state.pictures
    if before := pictures.drawn_before(order):
        return before
    opened = await _opened(request, await _stored(request, document_id))
    if opened.size > MAX_FILE_BYTES:
        opened.file.close()
        raise NotDrawnError(
            f"pages of files beyond {MAX_FILE_BYTES // MEGABYTE} MB are not drawn: take the original"
        )

    def read() -> bytes:
        with opened.file:
            return opened.file.read()

    return await pictures.draw(await asyncio.to_thread(read), order)


async def _stored(request: AnyRequest, document_id: int) -> StoredOriginal:
    read = partial(originals.get_original, document_id=stored_id(document_id), permitted=permitted(request))
    stored = await in_snapshot(services(request).retriever.pool, read)
    if stored is None:
        raise UnknownDocumentError(document_id)
    return stored


async def _page(request: AnyRequest, document_id: int, start: int, end: int) -> StoredPage:
    """Raises UnknownDocumentError, NotDrawnError."""
    read: Any = partial(
        originals.get_page,
        document_id=stored_id(document_id),
        start=start,
        end=end,
        permitted=permitted(request),
    )
    stored: StoredPage | None = await in_snapshot(services(request).retriever.pool, read)
    if stored is None:
        raise UnknownDocumentError(document_id)
    if stored.mime != "application/pdf":
        raise NotDrawnError("pages of a PDF alone are drawn: take the original")
    return stored


async def _opened(request: AnyRequest, stored: StoredOriginal) -> Original:
    crawl = services(request).retriever.settings.crawl
    open_ = partial(
        open_original,
        stored,
        follow_symlinks=crawl.follow_symlinks,
        max_bytes=int(crawl.max_file_mb * MEGABYTE),
    )
    pictures: Pictures = request.app.state.pictures
    async with pictures.readers:
        return await asyncio.to_thread(open_)


def _number(page: str) -> int:
    """Raises NoSuchPageError."""
    number = page.removesuffix(".png")
    if page == number or not (number.isascii() and number.isdecimal()) or len(number) > 7 or int(number) < 1:
        raise NoSuchPageError(f"there is no page {page[:40]!r}: write its number and .png")
    return int(number)
