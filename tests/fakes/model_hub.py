"""A model hub on loopback, which has the files of one folder: what its client library asks for, and no more."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

COMMIT = "0123456789012345678901234567890123456789"


class ModelHub:
    """`requests`: paths that were asked for, in order."""

    def __init__(self, name: str, folder: Path) -> None:
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                path = self.path.split("?")[0]
                hub.requests.append(path)
                file = folder / path.removeprefix(f"/{name}/resolve/{COMMIT}/")
                if path.startswith(f"/api/models/{name}/tree/"):
                    self._send(json.dumps(_tree(folder)).encode(), body=body)
                elif path.startswith(f"/api/models/{name}"):
                    self._send(json.dumps(_repository(name, folder)).encode(), body=body)
                elif path.startswith(f"/{name}/") and file.is_file():
                    self._send(file.read_bytes(), body=body)
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def _send(self, content: bytes, *, body: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.end_headers()
                if body:
                    self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _paths(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _repository(name: str, folder: Path) -> dict[str, object]:
    return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in _paths(folder)]}


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": path, "size": (folder / path).stat().st_size, "oid": path}
        for path in _paths(folder)
    ]
