"""`/session`: a person signs in at the page with a key, once, and out. What the cookie is: auth/session.py."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from litestar import delete, get, post
from litestar.response import Response

from pgfolio.query_api.auth.guard import SESSION, UnauthenticatedError, known_key
from pgfolio.query_api.auth.session import NO_SESSION, session_cookie
from pgfolio.query_api.service import access_contracts as c
from pgfolio.query_api.service.problems import trace_id
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, services
from pgfolio.schema.operations import api_keys
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from litestar.params import JSONBody

    from pgfolio.query_api.auth.guard import Guard
    from pgfolio.query_api.auth.keyring import KeyRing
    from pgfolio.schema.operations.api_keys import KeyHolder, KnownKey

SIGNING = {**PROBLEMS, 413: PROBLEM, 415: PROBLEM}


@post(
    "/session", opt=SESSION, status_code=200, security=[{}], responses=SIGNING, summary="Sign in with a key"
)
async def sign_in(request: AnyRequest, data: JSONBody[c.SignIn]) -> Response[c.SignedIn]:
    """The answer's cookie is as good as the key, for this server's own page."""
    secret = data.key.strip()
    known = _key_ring(request).find(secret)
    holder = None if known is None else await _holder(request, known)
    if holder is None:
        raise UnauthenticatedError("this API key opens nothing: it is wrong, revoked or expired")
    answer = c.SignedIn(
        holder.scope, holder.name, holder.collections, holder.expires_at, trace_id(request.scope)
    )
    return Response(answer, status_code=200, cookies=[session_cookie(request, secret)])


@get("/session", opt=SESSION, security=[{}], responses=PROBLEMS, summary="Who is signed in")
async def session(request: AnyRequest) -> c.SessionAnswer:
    """`required`: whether a key is needed at all; without one everybody who can reach the server may do all."""
    guard: Guard = request.app.state.guard
    keys, trace = _key_ring(request), trace_id(request.scope)
    if not guard.requires_key(keys):
        return c.SessionAnswer(required=False, signed_in=False, scope="admin", trace_id=trace)
    try:
        known = known_key(keys, request)
    except UnauthenticatedError:
        known = None
    holder = None if known is None else await _holder(request, known)
    if holder is None:
        return c.SessionAnswer(required=True, signed_in=False, trace_id=trace)
    return c.SessionAnswer(
        required=True,
        signed_in=True,
        scope=holder.scope,
        name=holder.name,
        collections=holder.collections,
        expires_at=holder.expires_at,
        trace_id=trace,
    )


@delete(
    "/session",
    opt=SESSION,
    status_code=204,
    security=[{}],
    responses=PROBLEMS,
    response_cookies=[NO_SESSION],
    summary="Sign out",
)
async def sign_out() -> None:
    """The browser forgets the key, which others may go on using: `DELETE /keys/{id}` revokes it."""


def _key_ring(request: AnyRequest) -> KeyRing:
    keys: KeyRing = request.app.state.key_ring
    return keys


async def _holder(request: AnyRequest, known: KnownKey) -> KeyHolder | None:
    read = partial(api_keys.holder, known=known)
    return await in_snapshot(services(request).retriever.pool, read)
