"""What fsspec reaches: sftp, github, webdav, memory. Each folder is listed by itself: fsspec's own walk leaves out
what it cannot list, as if it were gone."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import fsspec

from pgfolio.flows.remote.records import RemoteFile, RemoteUnreachable, UnlistedFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from pgfolio.flows.remote.records import Presence

READ_BYTES: Final = 1024 * 1024
SSH_SECONDS: Final = {"timeout": 10.0, "banner_timeout": 10.0, "auth_timeout": 10.0}
ANSWER_SECONDS: Final = 60.0
"""For each of a server's answers."""
GONE: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FileSystem:
    """Below `root`, as the file system calls it. Raises RemoteUnreachable."""

    def __init__(self, url: str, protocol: str, root: str, options: Mapping[str, Any]) -> None:
        self._url = url
        self._root = root
        self.has_content_tags = protocol == "github"
        # An SFTP client of paramiko loses answers when several threads wait for theirs.
        self._turn: AbstractContextManager[Any] = Lock() if protocol == "sftp" else nullcontext()
        make = _known_host_sftp() if protocol == "sftp" else partial(fsspec.filesystem, protocol)
        try:
            # One of its own: instances that are shared keep listings of earlier syncs.
            self._files: Any = make(skip_instance_cache=True, **options)
        except ImportError:  # the protocol's own library: fsspec alone is not enough
            raise
        except Exception as error:  # each has exceptions of its own
            raise RemoteUnreachable(f"{url} cannot be reached: {_said(error)}") from error

    def list_files(self) -> Iterator[RemoteFile | UnlistedFolder]:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with self._turn:
                    listed = self._files.ls(self._full(folder), detail=True)
            except Exception as error:
                if not folder or not isinstance(error, OSError):
                    raise RemoteUnreachable(f"{self._url} cannot be listed: {_said(error)}") from error
                if not isinstance(error, FileNotFoundError):  # else it vanished meanwhile
                    yield UnlistedFolder(f"{folder}/", f"folder cannot be listed: {_said(error)}")
                continue
            for each in listed:
                name = str(each["name"]).rstrip("/").rpartition("/")[2]
                path = f"{folder}/{name}" if folder else name
                if each["type"] == "directory":
                    folders.append(path)
                elif each["type"] == "file":
                    yield self._file(path, each)

    def read(self, path: str, max_bytes: int) -> tuple[bytes, RemoteFile]:
        try:
            with self._turn:
                before = self._file(path, self._files.info(self._full(path)))
                with self._files.open(self._full(path), "rb", block_size=READ_BYTES) as file:
                    data = file.read(max_bytes + 1)
                after = self._file(path, self._files.info(self._full(path)))
        except GONE as error:
            raise FileNotFoundError(path) from error
        except PermissionError:
            raise
        except Exception as error:
            raise RemoteUnreachable(f"{self._url} does not answer: {_said(error)}") from error
        # One that was written meanwhile has another tag than any that is listed.
        return data, after if before == after else after._replace(tag="changed", mtime_ns=-1)

    def presence(self, path: str) -> Presence:
        try:
            with self._turn:
                kind = self._files.info(self._full(path))["type"]
        except GONE:
            return "gone"
        except Exception:  # noqa: BLE001 -- each has exceptions of its own
            return "unknown"
        return "there" if kind == "file" else "gone"

    def close(self) -> None:
        client = getattr(self._files, "client", None)
        if client is not None and hasattr(client, "close"):
            client.close()

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}".rstrip("/") or "/"

    def _file(self, path: str, details: Mapping[str, Any]) -> RemoteFile:
        """Tags are a git object's SHA-1, or an ETag."""
        tag = str(details.get("sha") or details.get("etag") or "")
        return RemoteFile(path, int(details.get("size") or 0), _mtime_ns(details), tag)


def _known_host_sftp() -> Any:
    """Fsspec's own takes whatever host answers; here, as with `ssh`, its key must be one that is known."""
    import paramiko  # noqa: PLC0415 -- an extra
    from fsspec.implementations.sftp import SFTPFileSystem  # noqa: PLC0415 -- imports paramiko

    class KnownHostSftp(SFTPFileSystem):  # type: ignore[misc]
        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            self.client.load_system_host_keys()
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
            self.client.connect(self.host, **SSH_SECONDS, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(ANSWER_SECONDS)

    return KnownHostSftp


def _mtime_ns(details: Mapping[str, Any]) -> int:
    """In nanoseconds since 1970; 0: it has none."""
    moment = details.get("mtime") or details.get("modified") or details.get("created")
    if isinstance(moment, str):
        moment = parsedate_to_datetime(moment)
    if isinstance(moment, datetime):
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(zoned.timestamp()) * 1_000_000_000 + zoned.microsecond * 1000
    return int(float(moment or 0) * 1_000_000_000)


def _said(error: Exception) -> str:
    if "not found in known_hosts" in str(error):
        return "its host key is not known: connect with `ssh` once, or add it to ~/.ssh/known_hosts"
    lines = str(getattr(error, "strerror", None) or error).split("\n")
    return lines[0][:300].strip() or type(error).__name__
