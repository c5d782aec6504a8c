"""From a URL to what answers for it: which schemes there are, and what each needs installed."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from netrc import NetrcParseError, netrc
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from pgfolio.config.environment import variables
from pgfolio.config.errors import ConfigError
from pgfolio.flows.remote.records import RemoteUnreachable

if TYPE_CHECKING:
    from pgfolio.flows.remote.records import Remote

OBJECT_STORES: Final = ("s3", "gs", "az", "http", "https")
FILE_SYSTEMS: Final = ("sftp", "github", "webdav", "webdavs", "memory")
SCHEMES: Final = (*OBJECT_STORES, *FILE_SYSTEMS)
EXTRAS: Final = {"https": "http", "webdavs": "webdav"}
"""Extras are called as their schemes, but for these."""
SSH_PORT: Final = 22


class WrongUrlError(ConfigError):
    """A URL that cannot be a source, in a sentence."""


def is_url(root: str) -> bool:
    """Whether it is a URL and no folder."""
    scheme, separator, _ = root.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum()


def normalized(url: str) -> str:
    """The URL as a source keeps it: without a slash at its end. It is stored and shown, so that it may have no
    password. Raises WrongUrlError."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise WrongUrlError(f"pgfolio does not know {scheme[:40]}:// (it knows {known}, and folders)")
    authority = rest.partition("/")[0]
    if scheme != "github" and ":" in authority.rpartition("@")[0]:
        raise WrongUrlError(
            f"a {scheme}:// URL with a password would be stored and shown: leave it out, and put it where the "
            "manual says (flows/README.md, Sources beyond this disk)"
        )
    if "?" in rest or "#" in rest or not rest.isprintable():
        raise WrongUrlError(f"a {scheme}:// URL of a source has no `?` and no `#`: tokens are no part of it")
    if scheme != "memory" and not authority.rpartition("@")[2]:
        raise WrongUrlError(f"{scheme}:// what? Name the bucket or the host")
    return f"{scheme}://{rest.rstrip('/')}"


def open_remote(url: str) -> Remote:
    """Raises ConfigError where the extra is not installed, RemoteUnreachable."""
    scheme = url.partition("://")[0]
    try:
        if scheme in OBJECT_STORES:
            from pgfolio.flows.remote.object_store import ObjectStore  # noqa: PLC0415 -- an extra

            return ObjectStore(url)
        from pgfolio.flows.remote.file_system import FileSystem  # noqa: PLC0415 -- an extra

        return FileSystem(url, *_file_system(scheme, url))
    except ImportError as error:
        extra = EXTRAS.get(scheme, scheme)
        raise ConfigError(f"{scheme}:// needs `pip install 'pgfolio[{extra}]'` ({error})") from error


def is_there(url: str, path: str) -> bool:
    """Whether a file is seen there now."""
    try:
        with closing(open_remote(url)) as remote:
            return remote.presence(path) == "there"
    except RemoteUnreachable:
        return False


def _file_system(scheme: str, url: str) -> tuple[str, str, dict[str, Any]]:
    """Fsspec's name of the protocol, the root as it wants it, and its options."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if scheme == "memory":
        return "memory", f"/{parts.netloc}{path}", {}
    if scheme == "github":
        return "github", path.strip("/"), _github(parts.netloc)
    user, password = _login(parts.hostname or "")
    user = parts.username or user
    if scheme == "sftp":
        import_module("paramiko")
        options = {
            "host": parts.hostname,
            "port": parts.port or SSH_PORT,
            "username": user,
            "password": password,
        }
        return "sftp", path or "/", {key: value for key, value in options.items() if value}
    base = f"{'https' if scheme == 'webdavs' else 'http'}://{parts.netloc.rpartition('@')[2]}"
    return "webdav", path, {"base_url": base, **({"auth": (user, password)} if user and password else {})}


def _github(authority: str) -> dict[str, Any]:
    """`github://OWNER:REPOSITORY@BRANCH/folder`, as fsspec has it."""
    repository, _, branch = authority.partition("@")
    owner, _, name = repository.partition(":")
    if not owner or not name:
        raise WrongUrlError("a GitHub URL is github://OWNER:REPOSITORY@BRANCH/folder")
    token = variables().get("GITHUB_TOKEN") or variables().get("GH_TOKEN")
    known = {"username": owner, "token": token} if token else {}
    return {"org": owner, "repo": name, **({"sha": branch} if branch else {}), **known}


def _login(host: str) -> tuple[str | None, str | None]:
    """User and password of ~/.netrc; an agent's or a file's SSH key needs none."""
    try:
        login = netrc().authenticators(host)
    except (OSError, NetrcParseError):
        return None, None
    return (login[0] or None, login[2]) if login else (None, None)
