"""SFTP, WebDAV by HTTP, and fsspec's memory as sources."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import fsspec
import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.flows.discovery.sources import NoSuchSourceError, selected_sources
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.remote.opening import WrongUrlError, normalized, open_remote
from pgfolio.flows.run.options import Options
from pgfolio.schema.database.connect import connect
from tests.flows.library import counts
from tests.flows.remote.sftp_server import DENIED, PASSWORD, USER, sftp_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report

LONG_AGO = 1_588_561_321


class _WebDav(BaseHTTPRequestHandler):
    """As much of WebDAV as lists and reads."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_PROPFIND(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        top = self._file()
        inside = [top, *top.iterdir()] if top.is_dir() else [top]
        if self.headers.get("Depth") == "infinity":
            inside = [top, *top.rglob("*")]
        body = "".join(self._response(path) for path in inside)
        self._answer(
            207, f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{body}</D:multistatus>'.encode()
        )

    def do_GET(self) -> None:
        path = self._file()
        if not path.is_file():
            self._answer(404, b"")
            return
        headers = {"ETag": self._etag(path), "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True)}
        self._answer(200, path.read_bytes(), headers)

    do_HEAD = do_GET  # noqa: N815 -- as the library calls it

    def _file(self) -> Path:
        return Path(f"{self.root}{unquote(self.path)}")

    def _etag(self, path: Path) -> str:
        return f'"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"'

    def _response(self, path: Path) -> str:
        href = quote(f"/{path.relative_to(self.root)}") + ("/" if path.is_dir() else "")
        kind = "<D:collection/>" if path.is_dir() else ""
        return (
            f"<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>"
            f"<D:getcontentlength>{path.stat().st_size}</D:getcontentlength><D:getetag>{self._etag(path)}</D:getetag>"
            f"<D:getlastmodified>{formatdate(path.stat().st_mtime, usegmt=True)}</D:getlastmodified></D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def webdav(root: Path) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Dav", (_WebDav,), {"root": root}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "served"
    for n in range(6):
        path = root / "docs" / ("a" if n % 2 else "b/c d") / f"page {n}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Page {n}\n\nThis is the page about the number {n}.\n")
        os.utime(path, (LONG_AGO, LONG_AGO))
    return root


@pytest.fixture
def sftp(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    with sftp_server(tree) as (port, known_host):
        (home / ".ssh").mkdir()
        (home / ".ssh/known_hosts").write_text(known_host)
        yield f"sftp://127.0.0.1:{port}/docs"


@pytest.fixture
def http(tree: Path) -> Iterator[str]:
    with webdav(tree) as port:
        yield f"http://127.0.0.1:{port}/docs"


@pytest.fixture(params=["sftp", "http"])
def url(request: pytest.FixtureRequest) -> str:
    made: str = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def sync(settings: Settings, conninfo: str) -> Any:
    def run(name: str, **options: Any) -> Report:
        with connect(conninfo) as connection:
            sources = selected_sources(connection, settings, [name])
        return run_sync(settings, conninfo, sources, Options(**options))

    return run


def stored(conninfo: str) -> list[str]:
    with connect(conninfo) as connection:
        return [path for (path,) in connection.execute("select path from documents order by path").fetchall()]


def test_a_place_is_synced_changed_and_removed_from(url: str, tree: Path, sync: Any, conninfo: str) -> None:
    assert counts(sync(url)) == {"added": 6}
    assert counts(sync(url)) == {"unchanged": 6}
    (tree / "docs/a/page 1.md").write_text("# Page 1\n\nAnother text.\n")
    (tree / "docs/a/page 3.md").unlink()
    assert counts(sync(url)) == {"changed": 1, "removed": 1, "unchanged": 4}
    with connect(conninfo) as connection:
        (text,) = connection.execute("select text from documents where path = 'a/page 1.md'").fetchone()  # type: ignore[misc]
    assert text == "# Page 1\n\nAnother text.\n"


def test_a_moved_file_embeds_nothing(url: str, tree: Path, sync: Any) -> None:
    sync(url)
    (tree / "docs/a/page 3.md").rename(tree / "docs/b/elsewhere.md")
    report = sync(url)
    assert (counts(report), report.chunks.embedded) == ({"moved": 1, "unchanged": 5}, 0)


def test_a_young_file_without_a_tag_is_read_again(sftp: str, tree: Path, sync: Any, conninfo: str) -> None:
    """Its time has whole seconds, and is of another clock."""
    path = tree / "docs/young.md"
    path.write_text("# Young\n\nThe first text.\n")
    moment = time.time()
    os.utime(path, (moment, moment))
    sync(sftp)
    path.write_text("# Young\n\nThe other one.\n")  # as long as the first
    os.utime(path, (moment, moment))
    sync(sftp)
    with connect(conninfo) as connection:
        (text,) = connection.execute("select text from documents where path = 'young.md'").fetchone()  # type: ignore[misc]
    assert "other" in text


def test_a_folder_that_may_not_be_listed_is_unknown_not_empty(
    sftp: str, tree: Path, sync: Any, conninfo: str
) -> None:
    sync(sftp)
    (tree / "docs/a" / DENIED).touch()
    report = sync(sftp)
    assert (report.status, len(stored(conninfo))) == ("partial", 6)


def test_a_server_that_is_gone_is_a_sentence(tree: Path, sync: Any, conninfo: str) -> None:
    with webdav(tree) as port:
        url = f"http://127.0.0.1:{port}/docs"
        sync(url)
    with pytest.raises(Exception, match="cannot be reached"):
        sync(url)
    assert len(stored(conninfo)) == 6


def test_a_wrong_password_is_a_sentence_without_it(sftp: str, tmp_path: Path, sync: Any) -> None:
    (tmp_path / "home/.netrc").write_text(f"machine 127.0.0.1 login {USER} password wrong-secret\n")
    with pytest.raises(NoSuchSourceError, match=r"sftp://.* cannot be reached") as caught:
        sync(sftp)
    assert "wrong-secret" not in str(caught.value)


def test_a_host_that_is_not_known_is_not_trusted(sftp: str, tmp_path: Path, sync: Any) -> None:
    (tmp_path / "home/.ssh/known_hosts").unlink()
    with pytest.raises(NoSuchSourceError, match="host key is not known: connect with `ssh` once"):
        sync(sftp)


def test_memory_is_one_for_tests(sync: Any, conninfo: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/pages/a/one.md", b"# One\n\nThe first page.")
    try:
        assert counts(sync("memory://pages")) == {"added": 1}
        assert stored(conninfo) == ["a/one.md"]
    finally:
        files.rm("/pages", recursive=True)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/docs", "does not know ftp://.*s3://.*sftp://.*folders"),
        ("sftp://me:secret@host/docs", "password would be stored"),
        ("https://me:secret@host/docs", "password would be stored"),
        ("az://container/docs?sig=secret", "no `\\?`"),
        ("s3://", "Name the bucket"),
        ("github://prefect/docs", "github://OWNER:REPOSITORY@BRANCH"),
    ],
)
def test_a_url_that_cannot_be_a_source_is_a_sentence(sync: Any, url: str, sentence: str) -> None:
    with pytest.raises(WrongUrlError, match=sentence) as caught:
        sync(url)
    assert "secret" not in str(caught.value)


def test_a_url_is_kept_without_its_last_slash() -> None:
    assert normalized("S3://Bucket/docs/") == "s3://Bucket/docs"


def test_without_its_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "pgfolio.flows.remote.object_store", raising=False)
    with pytest.raises(ConfigError, match=r"s3:// needs `pip install 'pgfolio\[s3\]'`"):
        open_remote("s3://bucket/docs")


def test_without_the_library_behind_fsspec_it_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("webdav4", "webdav4.fsspec"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"webdav:// needs `pip install 'pgfolio\[webdav\]'`"):
        open_remote("webdav://127.0.0.1:1/docs")
