"""Typed settings, and the only reader of the process environment.

Order: environment, then the file named by PGFOLIO_CONFIG, then config/pgfolio.toml. Every problem is
reported at once, each with its variable. Nothing here opens a connection or a model.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import pwd
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULTS = Path(__file__).with_name("pgfolio.toml")
PREFIX = "PGFOLIO_"
OUTSIDE = {"OPENAI_API_KEY": "openai_api_key", "OPENAI_BASE_URL": "openai_base_url"}
"""Variables of others that keep their usual meaning."""

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
LogFormat = Literal["json", "text", "off"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class ConfigError(Exception):
    """The configuration cannot be used; the message lists every problem with its variable."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Embedding(Section):
    provider: Literal["auto", "local", "openai"]
    model: str
    dimensions: Annotated[int, Field(ge=1, le=4000)] | None = None
    batch_inputs: Annotated[int, Field(ge=1, le=2048)]
    batch_tokens: Count
    in_flight: Count
    timeout: Seconds
    deadline: Seconds
    requests_per_minute: Size
    tokens_per_minute: Size
    query_reserve: Annotated[float, Field(ge=0, le=0.9)]
    query_prefix: str
    document_prefix: str


class Chat(Section):
    provider: Literal["auto", "openai", "none"]
    model: str
    timeout: Seconds
    max_output_tokens: Count
    context_tokens: Annotated[int, Field(ge=200)]
    prompts: Path | None = None


class Crawl(Section):
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    hidden: bool
    follow_symlinks: bool
    max_file_mb: Annotated[float, Field(gt=0)]
    extract_timeout: Seconds


class Chunking(Section):
    tokens: Annotated[int, Field(ge=32, le=8192)]
    overlap: Size


class Sync(Section):
    delete_max_documents: Size
    delete_max_fraction: Fraction
    keep_vectors_days: Size


class Index(Section):
    storage: Literal["halfvec", "vector", "bit"]
    m: Annotated[int, Field(ge=2, le=100)]
    ef_construction: Annotated[int, Field(ge=4, le=1000)]
    ef_search: Annotated[int, Field(ge=1, le=1000)]
    target_recall: Fraction
    gate_recall: Fraction
    gate_ndcg_loss: Fraction
    keep_generations_days: Size


class Search(Section):
    language: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    fusion: Literal["scores", "rrf"]
    vector_weight: Annotated[float, Field(ge=0, le=100)]
    candidates: Annotated[int, Field(ge=10, le=1000)]
    min_similarity: Fraction
    answer_threshold: Fraction


class Rerank(Section):
    url: str
    api: Literal["jina", "tei", "local"]
    model: str
    key: SecretStr | None = None
    timeout: Seconds
    candidates: Annotated[int, Field(ge=1, le=1000)]


class Traces(Section):
    keep_days: Size
    keep_most: Count
    keep_queries: bool


class Api(Section):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: Count
    pool_size: Size
    max_waiting: Count
    timeout: Seconds
    statement_timeout: Seconds
    max_body_kb: Count
    max_push_mb: Annotated[float, Field(gt=0, le=200)]
    max_wait: Annotated[float, Field(ge=0)]
    requests_per_minute: Size | None = None
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    log: LogFormat


class Postgres(Section):
    shared_buffers_mb: Size
    maintenance_work_mem_mb: Size


class SourceRules(Section):
    """A source kept in the configuration file, as `[[sources]]`."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[^\x00/]+$")]
    root: Annotated[str, Field(min_length=1)]
    collection: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def default_home() -> Path:
    """The folder of the bundled Postgres and of local state.

    As root Postgres runs under a system user, which must be able to walk to its data: opening root's home for
    that is not ours to do, so root's state lies under /var/lib, apart for each home directory in use.
    """
    if os.name != "posix" or os.geteuid() != 0:
        usual = Path(platformdirs.user_data_dir("pgfolio", appauthor=False))
        # On a Mac it is below "Application Support", and the bundled Postgres starts in no path with a space.
        return Path.home() / ".pgfolio" if " " in str(usual) else usual
    home = str(Path.home())
    if home == pwd.getpwuid(0).pw_dir:
        return Path("/var/lib/pgfolio")
    return Path(f"/var/lib/pgfolio-{hashlib.sha256(home.encode()).hexdigest()[:8]}")


class Settings(BaseSettings):
    """All settings of both programs. Frozen; secrets are masked when shown."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    embedding: Embedding
    chat: Chat
    crawl: Crawl
    chunking: Chunking
    sync: Sync
    index: Index
    search: Search
    rerank: Rerank
    traces: Traces
    api: Api
    postgres: Postgres
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    sources: tuple[SourceRules, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        named = config_file()
        files = [TomlConfigSettingsSource(settings_cls, path) for path in (named, DEFAULTS) if path]
        return init_settings, env_settings, *files


def config_file() -> Path | None:
    """The file named by PGFOLIO_CONFIG, or None. Raises ConfigError when it cannot be read."""
    named = os.environ.get("PGFOLIO_CONFIG")
    if not named:
        return None
    try:
        with Path(named).open("rb") as file:
            tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"PGFOLIO_CONFIG: cannot read {named}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"PGFOLIO_CONFIG: {named} is not valid TOML: {error}") from error
    return Path(named)


def load_settings(**overrides: Any) -> Settings:
    """Read all layers. Raises ConfigError naming every problem with its variable."""
    unknown = list(_unknown_variables(os.environ))
    outside = {name: os.environ[variable] for variable, name in OUTSIDE.items() if os.environ.get(variable)}
    try:
        settings = Settings(**{**outside, **overrides})
    except ValidationError as error:
        raise ConfigError(_listed(unknown + [_problem(e) for e in error.errors()])) from None
    except SettingsError as error:
        raise ConfigError(_listed([*unknown, f"{error}: {error.__cause__}"])) from None
    if settings.chunking.overlap * 2 > settings.chunking.tokens:
        unknown.append(
            "PGFOLIO_CHUNKING__OVERLAP: must be at most half of chunking.tokens "
            f"({settings.chunking.tokens}), is {settings.chunking.overlap}"
        )
    if unknown:
        raise ConfigError(_listed(unknown))
    return settings


def prefect_api_url() -> str | None:
    """The Prefect API that the environment or Prefect's active profile names, without importing prefect."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    profile = profiles.get("profiles", {}).get(active, {})
    url = profile.get("PREFECT_API_URL")
    return str(url) if url else None


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables for the duration: some libraries read them at import only."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def child_environment(**values: str) -> dict[str, str]:
    """The environment for a program that we start. What lies in the working directory is no module of its:
    a folder of documents may hold a `json.py`."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **values}


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = set(_variables())
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name != "PGFOLIO_CONFIG":
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")


def _variables() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in OUTSIDE.values():
            continue
        yield (variable := PREFIX + name.upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from (f"{variable}__{inner.upper()}" for inner in field.annotation.model_fields)


def _problem(error: Any) -> str:
    where = [str(part) for part in error["loc"]]
    variable = next((v for v, n in OUTSIDE.items() if where == [n]), PREFIX + "__".join(where).upper())
    if error["type"] == "extra_forbidden":
        return f"{variable}: unknown setting {'.'.join(where)!r}"
    shown = "" if "key" in variable.lower() or "url" in variable.lower() else f", is {error['input']!r}"
    return f"{variable}: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} settings are wrong:\n" + "\n".join(f"  {problem}" for problem in problems)
