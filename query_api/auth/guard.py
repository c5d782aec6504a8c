"""Who may do what. Every route says in `opt` what it needs; one that says nothing needs an administrator's key.

While no key was ever made the API is open, and then only to this machine: it answers to this machine's names alone,
and to no web page of another origin, so that no page in somebody's browser reads the documents through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pgfolio.query_api.auth.rate_limit import Limit
from pgfolio.schema.operations.api_keys import SCOPES, is_loopback

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers.base import BaseRouteHandler

    from pgfolio.config.settings import Api
    from pgfolio.query_api.auth.keyring import KeyRing
    from pgfolio.schema.operations.api_keys import Scope
    from pgfolio.schema.search.vector import Permitted

PUBLIC: Final = {"needs": "nothing"}
READ: Final = {"needs": "read"}
WRITE: Final = {"needs": "write"}
ADMIN: Final = {"needs": "admin"}
"""A route's `opt`."""

DEFAULT_LIMIT: Final = 600
"""Requests a minute of one caller, where other machines can reach the API and nothing is set."""


class UnauthenticatedError(Exception):
    """No key, or one that opens nothing; whether it was ever one is not said."""


class ForbiddenError(Exception):
    """A key of too little scope, or a request from where none may come."""


class TooManyError(Exception):
    """More requests than the caller may make."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests: come again after the seconds in Retry-After")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `key` is the key's id, None while the API is open."""

    key: int | None
    scope: Scope
    permitted: Permitted


OPEN: Final = Caller(None, "admin", None)


class Guard:
    """Asked before a route reads its request's body."""

    def __init__(self, api: Api) -> None:
        self._exposed = not is_loopback(api.host)
        self._hosts = {host.casefold() for host in api.allowed_hosts}
        self._origins = frozenset(api.cors_origins)
        wanted = api.requests_per_minute
        self._limit = Limit((DEFAULT_LIMIT if self._exposed else 0) if wanted is None else wanted)

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raises UnauthenticatedError, ForbiddenError, TooManyError, DatabaseError."""
        needs = handler.opt.get("needs", "admin")
        if needs == "nothing":
            return
        keys: KeyRing = connection.app.state.key_ring
        closed = keys.exist or self._exposed
        self._check_host(connection.headers.get("host", ""), closed=closed)
        if not closed:
            self._check_origin(connection)
        caller = _holder(keys, connection.headers) if closed else OPEN
        connection.scope["state"]["caller"] = caller
        if SCOPES.index(caller.scope) < SCOPES.index(needs):
            raise ForbiddenError(f"this needs a key of scope {needs!r}, and yours has {caller.scope!r}")
        address = connection.client.host if connection.client else ""
        if wait := self._limit.wait(address if caller.key is None else f"key {caller.key}"):
            raise TooManyError(wait)

    def _check_host(self, header: str, *, closed: bool) -> None:
        """A page whose name was pointed to this machine (DNS rebinding) sends its own name."""
        host = _name(header)
        if host in self._hosts or (closed and not self._hosts) or is_loopback(host):
            return
        raise ForbiddenError(
            f"this server does not answer to the host {host[:100]!r}: name it in PGFOLIO_API__ALLOWED_HOSTS"
            + ("" if closed else ", or make a key: `pgfolio keys add --name NAME`")
        )

    def _check_origin(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Browsers tell from where a request comes; with keys there is nothing that they would send by themselves."""
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if urlsplit(origin).netloc != connection.headers.get("host", ""):
            raise ForbiddenError(
                "this server answers to no web page of another origin: name it in PGFOLIO_API__CORS_ORIGINS"
            )


def caller_of(scope: Any) -> Caller:
    """Who makes this request. Raises KeyError in a route that is public."""
    caller: Caller = scope["state"]["caller"]
    return caller


def _holder(keys: KeyRing, headers: Any) -> Caller:
    kind, _, token = headers.get("authorization", "").partition(" ")
    secret = token.strip() if kind.casefold() == "bearer" else headers.get("x-api-key", "").strip()
    if not secret:
        raise UnauthenticatedError("send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`")
    known = keys.find(secret)
    if known is None:
        raise UnauthenticatedError("this API key opens nothing: it is wrong, revoked or expired")
    return Caller(known.id, known.scope, known.collections)


def _name(header: str) -> str:
    """The host of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""
