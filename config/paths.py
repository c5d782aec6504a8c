"""Where settings and local state lie."""

from __future__ import annotations

import hashlib
import os
import pwd
import tomllib
from pathlib import Path

import platformdirs

from pgfolio.config.environment import variables
from pgfolio.config.errors import ConfigError
from pgfolio.config.files import read_regular

DEFAULTS = Path(__file__).with_name("pgfolio.toml")


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


def config_file() -> Path | None:
    """The file named by PGFOLIO_CONFIG, or None. Raises ConfigError when it cannot be read."""
    named = variables().get("PGFOLIO_CONFIG")
    if not named:
        return None
    try:
        tomllib.loads(read_regular(Path(named)).decode())
    except OSError as error:
        raise ConfigError(f"PGFOLIO_CONFIG: cannot read {named}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"PGFOLIO_CONFIG: {named} is not valid TOML: {error}") from error
    return Path(named)
