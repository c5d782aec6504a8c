"""An SFTP server on loopback over a folder, by paramiko."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "somebody", "secret-of-somebody"
DENIED = ".denied"
"""A folder with such a file may not be listed."""


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return int(paramiko.OPEN_SUCCEEDED)

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "password"


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    root: str

    def _full(self, path: str) -> Path:
        return Path(self.root + os.path.normpath(f"/{path}"))

    def list_folder(self, path: str) -> Any:
        if (self._full(path) / DENIED).exists():
            return paramiko.SFTP_PERMISSION_DENIED
        try:
            found = []
            for file in self._full(path).iterdir():
                attributes = paramiko.SFTPAttributes.from_stat(file.lstat())
                attributes.filename = file.name
                found.append(attributes)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return found

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._full(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def lstat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._full(path).lstat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002
        try:
            file = self._full(path).open("rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = paramiko.SFTPHandle(os.O_RDONLY)
        handle.readfile = file
        return handle


@contextmanager
def sftp_server(root: Path) -> Iterator[tuple[int, str]]:
    """The port, and the line of a known_hosts file."""
    key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []
    files = type("Files", (_Files,), {"root": str(root)})

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                transport = paramiko.Transport(client)
                transport.add_server_key(key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
                transports.append(transport)
                with suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=_Login())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield port, f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in transports:
            transport.close()
        thread.join(5)
