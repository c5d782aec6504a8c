"""Where a model server is, and how it wants to be addressed: its base URL, its query, the header of its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import openai

from pgfolio.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfolio.config.settings import Chat, Embedding, Settings

API_VERSION: Final = "api-version"
AZURE: Final = (".azure.com", ".azure-api.net", ".azure.us", ".azure.cn")
ROUTES: Final = ("/embeddings", "/chat/completions")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the SDK is told of a server. `base_url`: None is OpenAI's own."""

    key: str = field(repr=False)
    base_url: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "authorization"

    def client_options(self, timeout: float) -> dict[str, Any]:
        """The arguments of the SDK's clients. Retries are not theirs."""
        return {
            "api_key": self.key,
            "base_url": self.base_url,
            "default_query": dict(self.query),
            "timeout": timeout,
            "max_retries": 0,
        }

    @property
    def headers(self) -> dict[str, Any]:
        """Of each request: the SDK lets the key's header be left out there only."""
        if self.key_header == "authorization":
            return {}
        return {self.key_header: self.key, "Authorization": openai.Omit()}


def endpoint(settings: Settings, role: Embedding | Chat, model: str) -> Endpoint:
    """The server of one role's model: its own where it has one, else that of OPENAI_BASE_URL. Azure's address may be
    that of the resource, of its v1 API, or of one deployment. Raises ConfigError."""
    section = type(role).__name__.upper()
    url = role.base_url or settings.openai_base_url
    secret = role.api_key or (None if role.base_url else settings.openai_api_key)
    key = secret.get_secret_value() if secret else ""
    if not url:
        if not key:
            raise ConfigError(
                "OPENAI_API_KEY is not set: set it, or OPENAI_BASE_URL for a server without keys"
            )
        return Endpoint(key)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        name = f"PGFOLIO_{section}__BASE_URL" if role.base_url else "OPENAI_BASE_URL"
        raise ConfigError(f"{name}: must begin with http:// or https:// and name a server")
    query = dict(parse_qsl(parts.query))
    if settings.openai_api_version:
        query[API_VERSION] = settings.openai_api_version
    is_azure = parts.hostname.endswith(AZURE) or API_VERSION in query
    path = parts.path.rstrip("/")
    for route in ROUTES:
        path = path.removesuffix(route)
    if is_azure:
        path = _azure_path(path, model, versioned=API_VERSION in query)
    header = settings.openai_key_header
    return Endpoint(
        key or "none",
        urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        query,
        ("api-key" if is_azure else "authorization") if header == "auto" else header,
    )


def _azure_path(path: str, model: str, *, versioned: bool) -> str:
    """Without a version Azure serves its v1 API; with one each deployment has a path, but for that of v1."""
    if path not in {"", "/openai"}:
        return path
    return f"/openai/deployments/{quote(model, safe='')}" if versioned else "/openai/v1"
