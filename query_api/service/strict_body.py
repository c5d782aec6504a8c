"""Bodies are taken as the OpenAPI document says, and what is wrong with one is said in a sentence: litestar alone
takes `"explain": 0` for false and `"limit": "5"` for a number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.enums import HttpMethod

from pgfolio.query_api.service.field_hints import unknown_field
from pgfolio.query_api.service.json_body import UnreadableBodyError, decode_body

if TYPE_CHECKING:
    from pgfolio.query_api.service.requests import AnyRequest

Fields = TypeVar("Fields", bound=msgspec.Struct)

KINDS: Final = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}


class CompressedBodyError(Exception):
    """A body that would have to be unpacked first, to who knows what size."""


class WrongFieldError(Exception):
    """A field that is missing, unknown, or has a value of another type or beyond its bounds."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"correct the request: {fault}")
        self.errors = [fault]


class StrictRequest(Request[Any, Any, State]):
    """Whose body is read as `decode_body` does."""

    _value: Any = None

    async def json(self) -> Any:
        """Raises UnreadableBodyError."""
        if self._value is None:
            self._value = decode_body(await self.body(), self.content_type[0])
        return self._value


async def require_strict_body(request: AnyRequest) -> None:
    """Raises CompressedBodyError, UnreadableBodyError, WrongFieldError."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if request.method == HttpMethod.POST and coding not in {"identity", ""}:
        raise CompressedBodyError(
            f"the request's body is compressed (`Content-Encoding: {coding[:60]}`): send it as it is"
        )
    field = request.route_handler.parsed_data_field
    if field is not None:
        converted(await request.json(), field.annotation)


def converted(value: Any, kind: type[Fields]) -> Fields:
    """The value as one of this kind, with nothing taken for what it is not. Raises UnreadableBodyError,
    WrongFieldError."""
    if not isinstance(value, dict):
        raise UnreadableBodyError(
            f"the request's body must be a JSON object, not {KINDS.get(type(value), 'null')}"
        )
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise WrongFieldError(_fault(str(error), kind)) from error
    except OverflowError as error:
        raise WrongFieldError("a number is too large") from error


def _fault(message: str, kind: type[msgspec.Struct]) -> str:
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        return unknown_field(match[1], kind.__struct_fields__)
    if match := re.fullmatch(r"Object missing required field `(.*)`", message):
        return f"`{match[1]}` is missing"
    if match := re.fullmatch(r"(.*) - at `\$\.?(.*)`", message, re.DOTALL):
        return f"{match[2]}: {match[1]}"
    return message
