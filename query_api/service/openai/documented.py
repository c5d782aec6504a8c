"""What the OpenAPI document says of errors in OpenAI's shape."""

from __future__ import annotations

from typing import Final

from litestar.openapi.datastructures import ResponseSpec

from pgfolio.query_api.service.openai.errors import ErrorAnswer

ERROR: Final = ResponseSpec(
    ErrorAnswer, description="What is wrong, and what to do", media_type="application/json"
)
ERRORS: Final = dict.fromkeys((400, 401, 403, 429, 500, 503), ERROR)
MISSING: Final = {404: ERROR}
ASKING: Final = {**ERRORS, **dict.fromkeys((404, 413, 415, 502), ERROR)}
