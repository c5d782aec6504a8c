"""Every failure of a model server as one of our few, in a sentence that repeats the server's own words."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
import openai

from pgfolio.config.models.protocols import (
    BadAnswerError,
    FatalModelError,
    ModelError,
    RateLimitedError,
    RejectedInputError,
    TransientError,
)
from pgfolio.config.models.rate_limit_headers import rate_limits, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTA_CODES: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
"""Error codes that no waiting helps against."""

MAX_WORDS: Final = 300
"""Characters of a server's own words."""

MAX_SCANNED: Final = 10_000
"""Characters of a body that are searched for them."""

MAX_DEPTH: Final = 4
"""Levels of a body that are searched for words."""

WORDED: Final = ("message", "error", "detail", "msg", "errors", "error_description", "title", "reason")
"""Where servers put their words: OpenAI, vLLM, Ollama, FastAPI, gateways."""

_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]{0,1000}>")
_SIZE = re.compile(
    r"too (?:large|long|many|big)|batch[_ ]size|context (?:length|size|window)|exceed|maximum|at most|n_ctx|"
    r"\blarger? than|\bgreater than|\bmore than",
    re.IGNORECASE,
)
_PASSES = re.compile(r"overload|rate.?limit|capacity|queue|try again|unavailable|timed? ?out", re.IGNORECASE)
_OF_TOKENS = re.compile(r"token|context|character|\bbyte", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def own_words(body: object, secret: str = "") -> str:
    """What a server says in a body, as one line that can be printed and stored, without the key; empty where it says
    nothing."""
    encodable = _words(body, MAX_DEPTH)[:MAX_SCANNED].encode("utf-8", "replace").decode()
    text = " ".join("".join(c if c.isprintable() else " " for c in encodable).split())
    if len(secret) > 3:
        text = text.replace(secret, "***")
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def _words(body: object, depth: int) -> str:
    if isinstance(body, str):
        return _of_page(body) if _PAGE.match(body) else body
    if not depth:
        return ""
    if isinstance(body, Mapping):
        return next((words for key in WORDED if (words := _words(body.get(key), depth - 1))), "")
    if isinstance(body, list):
        return "; ".join(words for item in body[:3] if (words := _words(item, depth - 1)))
    return ""


def _of_page(page: str) -> str:
    start = page[:MAX_SCANNED]
    match = _TITLE.search(start)
    return html.unescape(_TAG.sub(" ", match[2] if match else start))


def decoded(what: str, content: bytes, secret: str = "") -> dict[str, Any]:
    """The JSON object of an answer. Raises BadAnswerError, or what an error within it says."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise not_json(what, content.decode("utf-8", "replace"), secret) from error
    if not isinstance(body, dict):
        raise BadAnswerError(f"{what}: the server answered JSON that is no object: check OPENAI_BASE_URL")
    raise_if_error(what, body, secret)
    return body


def not_json(what: str, text: str, secret: str = "") -> BadAnswerError:
    """What answered does not speak the API."""
    said = own_words(text, secret)
    page = "a web page" if _PAGE.match(text) else "what is no JSON" if said else "nothing"
    quoted = f" ({said!r})" if said else ""
    return BadAnswerError(f"{what}: the server answered {page}{quoted}: check OPENAI_BASE_URL")


def raise_if_error(what: str, body: Mapping[str, Any], secret: str = "") -> None:
    """Raises a ModelError for an error within an answer of status 200."""
    error = body.get("error")
    if body.get("object") == "error":  # vLLM's
        error = error or body
    if error:
        raise error_in_answer(what, error, secret)


def error_in_answer(what: str, error: object, secret: str = "") -> ModelError:
    """The error within an answer that began well."""
    said = own_words(error, secret) or "an error without words"
    codes = [error.get(name) for name in ("code", "status", "type")] if isinstance(error, Mapping) else []
    status = next((code for code in codes if type(code) is int and 400 <= code < 600), 0)
    if QUOTA_CODES & {code for code in codes if isinstance(code, str)}:
        return FatalModelError(f"{what}: the quota is spent: add credit or change the key ({said})")
    if status in {401, 403}:
        return FatalModelError(f"{what}: not permitted ({status}): {said}")
    if status == 429 or "rate_limit_exceeded" in codes:
        return RateLimitedError(f"{what}: rate limit: {said}")
    if status in {400, 413, 422} or names_size(said):
        return _rejected(f"{what}: refused: {said}", said)
    return BadAnswerError(f"{what}: the server answered an error: {said}")


def names_size(said: str) -> bool:
    """Whether a server's words mean that the request was too large, and not the moment a bad one."""
    return bool(_SIZE.search(said)) and not _PASSES.search(said)


def max_inputs(said: str, sent: int) -> int | None:
    """The number of inputs in a request that a refusal names as the most, of so many that were sent."""
    if not names_size(said) or _OF_TOKENS.search(said):
        return None
    smaller = [number for text in _NUMBER.findall(said) if 0 < (number := int(text[:9])) < sent]
    return max(smaller, default=None)


@contextmanager
def model_errors(what: str, secret: str = "") -> Iterator[None]:
    """Raises every failure of the SDK as a ModelError."""
    try:
        yield
    except openai.APIStatusError as error:
        raise _of_status(what, error, secret) from error
    except (openai.APITimeoutError, openai.APIConnectionError, httpx2.HTTPError) as error:
        cause = error.__cause__ or error
        said = str(cause) or type(cause).__name__
        raise TransientError(f"{what}: no connection to the server: {said}; check OPENAI_BASE_URL") from error
    except openai.APIResponseValidationError as error:
        raise not_json(what, str(error.body or ""), secret) from error
    except openai.APIError as error:  # in the middle of a stream
        raise error_in_answer(what, error.body or error.message, secret) from error
    except json.JSONDecodeError as error:
        raise not_json(what, error.doc, secret) from error
    except (openai.OpenAIError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadAnswerError(f"{what}: the server's answer cannot be read") from error


def _of_status(what: str, error: openai.APIStatusError, secret: str) -> ModelError:
    status, said = error.status_code, own_words(error.body, secret)
    words = f": {said}" if said else ""
    if _is_page(error.body) and status in {
        400,
        403,
        406,
    }:  # a firewall between us, which may mean this text only
        return BadAnswerError(f"{what}: a web page refused it ({status}){words}")
    if status == 401:
        return FatalModelError(f"{what}: the key was refused (401): check OPENAI_API_KEY{_in_brackets(said)}")
    if status == 403:
        return FatalModelError(f"{what}: not permitted (403){words}")
    if status in {404, 405} or error.code == "model_not_found":
        return FatalModelError(
            f"{what} is not known to the server ({status}): check the model and OPENAI_BASE_URL, which ends in /v1 "
            f"for most servers{_in_brackets(said)}"
        )
    if status == 429:
        return _too_many(what, error, said)
    if status == 402 or error.code in QUOTA_CODES:
        return FatalModelError(
            f"{what}: the quota is spent: add credit or change the key{_in_brackets(said)}"
        )
    if status == 501 or (status >= 500 and names_size(said)):
        return _rejected(f"{what}: refused ({status}){words}", said)
    if status in {408, 409, 425} or status >= 500:
        wait = retry_after(error.response.headers)
        return TransientError(f"{what}: the server failed ({status}){words}", wait)
    if status < 400:
        return BadAnswerError(f"{what}: the server answered with status {status}: check OPENAI_BASE_URL")
    return _rejected(f"{what}: refused ({status}){words}", said)


def _rejected(message: str, said: str) -> RejectedInputError:
    return RejectedInputError(message, said, by_size=names_size(said))


def _too_many(what: str, error: openai.APIStatusError, said: str) -> ModelError:
    """A 429 is a limit that passes, a quota that does not, or a request larger than ever allowed at once."""
    if error.code in QUOTA_CODES or error.type in QUOTA_CODES:
        return FatalModelError(
            f"{what}: the quota is spent: add credit or change the key{_in_brackets(said)}"
        )
    if "request too large" in said.lower():
        return _rejected(f"{what}: refused (429): {said}", said)
    limits = rate_limits(error.response.headers, rejected=True)
    wait_seconds = retry_after(error.response.headers)
    if wait_seconds is None and limits and limits.wait:
        wait_seconds = limits.wait
    return RateLimitedError(
        f"{what}: rate limit (429): {said or 'the server does not say which'}", wait_seconds, limits
    )


def _is_page(body: object) -> bool:
    return isinstance(body, str) and bool(_PAGE.match(body))


def _in_brackets(said: str) -> str:
    return f" ({said})" if said else ""
