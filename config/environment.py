"""The process environment: what others keep there, and what programs that we start are given."""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def variables() -> Mapping[str, str]:
    """The environment, as it is now."""
    return os.environ


def prefect_api_url() -> str | None:
    """The Prefect API that the environment or Prefect's active profile names, without importing prefect."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    try:
        profiles = tomllib.loads(read_regular(home / "profiles.toml").decode())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    profile = profiles.get("profiles", {}).get(active, {})
    url = profile.get("PREFECT_API_URL")
    return str(url) if url else None


@contextmanager
def temporary_environment(**values: str) -> Iterator[None]:
    """Set variables for the duration: some libraries read them at import only."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            set_variable(name, value)


def set_variable(name: str, value: str | None) -> None:
    """Also for programs that are started from now on; None: it is not set."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def child_environment(**values: str) -> dict[str, str]:
    """The environment for a program that we start. What lies in the working directory is no module of its:
    a folder of documents may hold a `json.py`."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **values}


def replace_environment(values: Mapping[str, str]) -> None:
    """In a process that was forked from an older one: the environment of whoever it works for."""
    os.environ.clear()
    os.environ.update(values)
