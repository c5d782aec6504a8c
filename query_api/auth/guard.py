"""Who may do what. Every route says in `opt` what it needs; one that says nothing needs an administrator's key.

While no key was ever made the API is open, and then only to this machine: it answers to this machine's names alone,
and to no web page of another origin, so that no page in somebody's browser reads the documents through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pgfolio.query_api.auth.caller import OPEN, Caller
from pgfolio.query_api.auth.rate_limit import CallerRateLimiter
from pgfolio.schema.operations.api_keys import SCOPES, is_loopback

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers.base import BaseRouteHandler

    from pgfolio.config.settings import Api
    from pgfolio.query_api.auth.keyring import KeyRing

PUBLIC: Final = {"needs": "nothing"}
READ: Final = {"needs": "read"}
WRITE: Final = {"needs": "write"}
"""A route's `opt`; without one it needs an administrator's key."""

DEFAULT_REQUESTS_PER_MINUTE: Final = 600
"""Requests a minute of one caller, where other machines can reach the API and nothing is set."""


class UnauthenticatedError(Exception):
    """No key, or one that opens nothing; whether it was ever one is not said."""


class ForbiddenError(Exception):
    """A key of too little scope, or a request from where none may come."""


class RateLimitExceededError(Exception):
    """More requests than the caller may make."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests: come again after the seconds in Retry-After")
        self.retry_after = retry_after


class Guard:
    """Asked before a route reads its request's body."""

    def __init__(self, api: Api) -> None:
        self._exposed = not is_loopback(api.host)
        self._hosts = {host.casefold() for host in api.allowed_hosts}
        self._origins = frozenset(api.cors_origins)
        per_minute = api.requests_per_minute
        self._rate_limiter = CallerRateLimiter(
            (DEFAULT_REQUESTS_PER_MINUTE if self._exposed else 0) if per_minute is None else per_minute
        )

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raises UnauthenticatedError, ForbiddenError, TooManyError, DatabaseError."""
        needs = handler.opt.get("needs", "admin")
        if needs == "nothing":
            return
        keys: KeyRing = connection.app.state.key_ring
        requires_key = keys.exist or self._exposed
        self._check_host(connection.headers.get("host", ""), requires_key=requires_key)
        if not requires_key:
            self._check_origin(connection)
        caller = _authenticate(keys, connection.headers) if requires_key else OPEN
        connection.scope["state"]["caller"] = caller
        if SCOPES.index(caller.scope) < SCOPES.index(needs):
            raise ForbiddenError(f"this needs a key of scope {needs!r}, and yours has {caller.scope!r}")
        address = connection.client.host if connection.client else ""
        if retry_after := self._rate_limiter.retry_after(
            address if caller.key is None else f"key {caller.key}"
        ):
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
        if urlsplit(origin).netloc != connection.headers.get("host", ""):
            raise ForbiddenError(
                "this server answers to no web page of another origin: name it in PGFOLIO_API__CORS_ORIGINS"
            )


def _authenticate(keys: KeyRing, headers: Any) -> Caller:
    kind, _, token = headers.get("authorization", "").partition(" ")
    secret = token.strip() if kind.casefold() == "bearer" else headers.get("x-api-key", "").strip()
    if not secret:
        raise UnauthenticatedError("send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`")
    known = keys.find(secret)
    if known is None:
        raise UnauthenticatedError("this API key opens nothing: it is wrong, revoked or expired")
    return Caller(known.id, known.scope, known.collections)


def _host_name(header: str) -> str:
    """The host of a Host header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""
