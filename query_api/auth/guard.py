"""Who may do what. Every route says in `opt` what it needs; one that says nothing needs an administrator's key.

While no key was ever made the API is open, and then only to this machine: it answers to this machine's names alone,
and to no web page of another origin, so that no page in somebody's browser reads the documents through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pgfolio.query_api.auth.caller import OPEN, Caller
from pgfolio.query_api.auth.rate_limit import CallerRateLimiter
from pgfolio.query_api.auth.session import ForeignPageError, check_same_origin, is_own_origin, session_secret
from pgfolio.schema.operations.api_keys import SCOPES, is_loopback

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers.base import BaseRouteHandler

    from pgfolio.config.settings import Api
    from pgfolio.query_api.auth.keyring import KeyRing
    from pgfolio.schema.operations.api_keys import KnownKey

PUBLIC: Final = {"needs": "nothing"}
READ: Final = {"needs": "read"}
WRITE: Final = {"needs": "write"}
ADMIN: Final = {"needs": "admin"}
SESSION: Final = {"needs": "session"}
"""A route's `opt`; without one it needs an administrator's key. SESSION: who signs in needs none, but is limited as
who has a wrong one, and answered as from where others are."""

CHANGING: Final = {"write", "admin"}
"""What changes something needs one of these; by GET it is only looked at."""

DEFAULT_REQUESTS_PER_MINUTE: Final = 600
"""Requests a minute of one caller, where other machines can reach the API and nothing is set."""


class UnauthenticatedError(Exception):
    """No key, or one that opens nothing; whether it was ever one is not said."""


class ForbiddenError(Exception):
    """A key of too little scope, or a request from where none may come."""


class ReadOnlyServerError(Exception):
    """Something is to be changed through a server that only reads."""

    def __init__(self) -> None:
        super().__init__("this server only reads (PGFOLIO_API__READ_ONLY): send it to one that writes")


class RateLimitExceededError(Exception):
    """More requests than the caller may make."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests: come again after the seconds in Retry-After")
        self.retry_after = retry_after


class Guard:
    """Asked before a route reads its request's body."""

    def __init__(self, api: Api) -> None:
        self._exposed = not is_loopback(api.host)
        self._read_only = api.read_only
        self._hosts = {host.casefold() for host in api.allowed_hosts}
        self._origins = frozenset(api.cors_origins)
        per_minute = api.requests_per_minute
        self._rate_limiter = CallerRateLimiter(
            (DEFAULT_REQUESTS_PER_MINUTE if self._exposed else 0) if per_minute is None else per_minute
        )

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raises UnauthenticatedError, ForbiddenError, ReadOnlyServerError, RateLimitExceededError, DatabaseError."""
        needs = handler.opt.get("needs", "admin")
        if needs == "nothing":
            return
        keys: KeyRing = connection.app.state.key_ring
        requires_key = self.requires_key(keys)
        self._check_host(connection.headers.get("host", ""), requires_key=requires_key)
        if not requires_key:
            self._check_origin(connection)
        if needs == "session":
            self._count(_address(connection))
            if _is_foreign(connection):
                raise ForbiddenError("this server's own page alone signs in and out")
            return
        try:
            caller = _authenticate(keys, connection) if requires_key else OPEN
        except UnauthenticatedError:
            self._count(_address(connection))  # whoever tries keys is limited as who has one
            raise
        except ForeignPageError as error:
            raise ForbiddenError(str(error)) from error
        connection.scope["state"]["caller"] = caller
        if SCOPES.index(caller.scope) < SCOPES.index(needs):
            raise ForbiddenError(f"this needs a key of scope {needs!r}, and yours has {caller.scope!r}")
        self._count(_address(connection) if caller.key is None else f"key {caller.key}")
        if self._read_only and needs in CHANGING and connection.scope.get("method") not in {"GET", "HEAD"}:
            raise ReadOnlyServerError

    def requires_key(self, keys: KeyRing) -> bool:
        """Whether a request needs a key. Raises DatabaseError when that is not known."""
        return keys.exist or self._exposed

    def _count(self, caller: str) -> None:
        """Raises RateLimitExceededError."""
        if retry_after := self._rate_limiter.retry_after(caller):
            raise RateLimitExceededError(retry_after)

    def _check_host(self, header: str, *, requires_key: bool) -> None:
        """A page whose name was pointed to this machine (DNS rebinding) sends its own name."""
        host = _host_name(header)
        if host in self._hosts or (requires_key and not self._hosts) or is_loopback(host):
            return
        raise ForbiddenError(
            f"this server does not answer to the host {host[:100]!r}: name it in PGFOLIO_API__ALLOWED_HOSTS"
            + ("" if requires_key else ", or make a key: `pgfolio keys add --name NAME`")
        )

    def _check_origin(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Browsers say from where a request comes; with keys there is nothing that they would send by themselves."""
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if not is_own_origin(connection, origin):
            raise ForbiddenError(
                "this server answers to no web page of another origin: name it in PGFOLIO_API__CORS_ORIGINS"
            )


def known_key(keys: KeyRing, connection: ASGIConnection[Any, Any, Any, Any]) -> KnownKey | None:
    """The usable key that is shown: in a header, else in the session's cookie; None where none is. Raises
    UnauthenticatedError for one that opens nothing, and ForeignPageError."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    secret = token.strip() if kind.casefold() == "bearer" else connection.headers.get("x-api-key", "").strip()
    by_cookie = not secret
    secret = secret or session_secret(connection)
    if not secret:
        return None
    known = keys.find(secret)
    if known is None:
        raise UnauthenticatedError("this API key opens nothing: it is wrong, revoked or expired")
    if by_cookie:
        check_same_origin(connection)
    return known


def _authenticate(keys: KeyRing, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """Raises UnauthenticatedError, ForeignPageError."""
    known = known_key(keys, connection)
    if known is None:
        raise UnauthenticatedError("send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`")
    return Caller(known.id, known.scope, known.collections)


def _is_foreign(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether a browser says that another page sends this; a program says nothing, and has no cookie."""
    says = {"sec-fetch-site", "origin"} & set(connection.headers.keys())
    if not says and not session_secret(connection):
        return False
    try:
        check_same_origin(connection)
    except ForeignPageError:
        return True
    return False


def _address(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return connection.client.host if connection.client else ""


def _host_name(header: str) -> str:
    """The host of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""
