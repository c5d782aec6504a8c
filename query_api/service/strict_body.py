"""Bodies are taken as the OpenAPI document says: litestar alone takes `"explain": 0` for false and `"limit": "5"` for
a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from litestar import Request


class WrongTypeError(Exception):
    """A field has a value of another type, which would have been taken for the right one."""


async def require_strict_body(request: Request[Any, Any, Any]) -> None:
    """Raises WrongTypeError. What litestar refuses by itself is left to it."""
    field = request.route_handler.parsed_data_field
    if field is None:
        return
    body = await request.body()
    try:
        msgspec.json.decode(body, type=field.annotation)
    except msgspec.ValidationError as error:
        if _is_coerced(body, field.annotation):
            raise WrongTypeError(f"correct the request: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


def _is_coerced(body: bytes, kind: Any) -> bool:
    try:
        msgspec.convert(msgspec.json.decode(body), kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
