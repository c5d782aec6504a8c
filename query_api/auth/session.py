"""The session of a person at the page: a cookie that holds the key with which they signed in.

The key itself and no token of ours: the key ring knows whether it still opens anything, within a second in every
process, and the database goes on storing hashes only. HttpOnly: no script reads it. SameSite=Strict and
`check_same_origin`: no page of another origin uses it. It ends with the browser's session.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    AnyConnection = ASGIConnection[Any, Any, Any, Any]

COOKIE: Final = "pgfolio_session"

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
"""They change nothing."""

NO_SESSION: Final = Cookie(key=COOKIE, value="", path="/", httponly=True, samesite="strict", max_age=0)
"""The cookie that signs out."""


class ForeignPageError(Exception):
    """A request with a cookie that another page than ours may have made a browser send."""


def session_secret(connection: AnyConnection) -> str:
    """The key in the request's cookie, or nothing."""
    return connection.cookies.get(COOKIE, "").strip().strip('"')


def session_cookie(connection: AnyConnection, secret: str) -> Cookie:
    """The cookie that signs in."""
    return replace(NO_SESSION, value=secret, max_age=None, secure=_came_by_https(connection))


def check_same_origin(connection: AnyConnection) -> None:
    """Of what changes anything, or is a POST, with a cookie: a browser must say that a page of this server sends it.

    Sec-Fetch-Site is the browser's own word, which no page can set, also where a proxy has changed the Host; where
    there is none (an old browser, plain http) the Origin must be this host's. Raises ForeignPageError.
    """
    if connection.scope.get("method") in SAFE_METHODS:
        return
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    same = site == "same-origin" if site is not None else origin is not None
    if not same or (site is None and not is_own_origin(connection, origin or "")) or origin == "null":
        raise ForeignPageError(
            "a request with a session's cookie must come from this server's own page: `Origin`, or "
            "`Sec-Fetch-Site: same-origin`, says so; programs send an API key instead"
        )


def is_own_origin(connection: AnyConnection, origin: str) -> bool:
    """Whether an Origin header names the host that was asked, by the scheme that it was asked by."""
    try:
        parts = urlsplit(origin)
        scheme, netloc = parts.scheme.casefold(), parts.netloc.casefold()
    except ValueError:
        return False
    schemes = {"https"} if _came_by_https(connection) else {"http", "https"}
    return scheme in schemes and netloc != "" and netloc == connection.headers.get("host", "").casefold()


def _came_by_https(connection: AnyConnection) -> bool:
    """By a proxy's word: a client that lies gets a cookie that its own browser does not send."""
    forwarded = connection.headers.get("x-forwarded-proto", "").split(",")[0].strip().casefold()
    return connection.scope["scheme"] == "https" or forwarded == "https"
