"""Reading the settings from all layers, with every problem at once, each with its variable."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError

from pgfolio.config.environment import variables
from pgfolio.config.errors import ConfigError
from pgfolio.config.section import Section
from pgfolio.config.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


OUTSIDE = {
    "OPENAI_API_KEY": "openai_api_key",
    "OPENAI_BASE_URL": "openai_base_url",
    "OPENAI_API_VERSION": "openai_api_version",
}
"""Variables of others that keep their usual meaning."""


def load_settings(**overrides: Any) -> Settings:
    """Read all layers. Raises ConfigError naming every problem with its variable."""
    environ = variables()
    unknown = list(_unknown_variables(environ))
    outside = {name: environ[variable] for variable, name in OUTSIDE.items() if environ.get(variable)}
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


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = set(_variables())
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name != "PGFOLIO_CONFIG":
            suggestions = difflib.get_close_matches(name, known, n=1)
            yield f"{name}: unknown setting" + (f"; did you mean {suggestions[0]}?" if suggestions else "")


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
    value = "" if "key" in variable.lower() or "url" in variable.lower() else f", is {error['input']!r}"
    return f"{variable}: {error['msg'][0].lower()}{error['msg'][1:]}{value}"


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} settings are wrong:\n" + "\n".join(f"  {problem}" for problem in problems)
