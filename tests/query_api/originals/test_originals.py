"""Originals over HTTP: byte for byte what was stored, and never anything else, whatever stands in its place."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from pgfolio.query_api.originals.disposition import attachment, media_type
from pgfolio.query_api.originals.original import OriginalChangedError, OriginalMissingError, open_original
from pgfolio.query_api.originals.passage import PageText, locate
from pgfolio.schema.database.connect import connect
from pgfolio.schema.search.originals import StoredOriginal
from tests.flows.extraction.test_extract import pdf
from tests.flows.library import Library
from tests.query_api.library import make_key, running_api
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

SECRET = b"The launch code is zebra.\n"
TEXT = "# Tides\n\nThe moon pulls the water, and the tides follow it twice a day.\n"
REPORT = pdf("The revenue of the year 2022 was 3412 euros", "The costs of the year 2022 were 1200 euros")


class Served(NamedTuple):
    client: httpx.Client
    library: Library
    ids: dict[str, int]

    def original(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(f"/documents/{self.ids[path]}/original", headers=headers)

    def page(self, number: Any = 1, path: str = "report.pdf", **parameters: Any) -> httpx.Response:
        return self.client.get(f"/documents/{self.ids[path]}/pages/{number}.png", params=parameters)


@pytest.fixture(scope="module")
def served(
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    with new_database() as conninfo:
        root = tmp_path_factory.mktemp("folder") / "library"
        root.mkdir()
        library = Library(root, conninfo, new_settings(database_url=conninfo))
        (root.parent / "secret.md").write_bytes(SECRET)
        for n in range(12):
            library.write(f"tides/{n}.md", f"{TEXT}\nNumber {n}.\n")
        library.write("report.pdf", REPORT)
        library.write('tides/a "quoted"; name = Gezeiten äöü 潮.md', TEXT)
        library.write("page.html", "<title>A page</title><p>Some text of a page.<script>alert(1)</script>")
        library.sync()
        with running_api(library.settings, conninfo) as client:
            items = client.get("/documents").json()["items"]
            yield Served(client, library, {item["path"]: item["id"] for item in items})


def test_an_original_is_what_was_stored_and_a_download(served: Served) -> None:
    answer = served.original("report.pdf")
    assert (answer.status_code, answer.content) == (200, REPORT)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Length"] == str(len(REPORT))
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="report.pdf"')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers.get_list("Content-Security-Policy")
    head = served.client.head(f"/documents/{served.ids['report.pdf']}/original")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(REPORT)))


def test_a_page_with_script_is_a_download_in_a_sandbox(served: Served) -> None:
    answer = served.original("page.html")
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers.get_list("Content-Security-Policy")


def test_a_pushed_original_comes_from_the_database(served: Served) -> None:
    name = 'x"; filename=evil.exe\r\nX-Evil: 1 \u202eä.md'
    answer = served.client.post("/documents", files={"file": (name, TEXT.encode())})
    original = served.client.get(f"{answer.json()['url']}/original")
    assert original.content == TEXT.encode()
    assert "X-Evil" not in original.headers
    assert original.headers["Content-Disposition"].count(";") == 2


def put_link(file: Path) -> None:
    file.symlink_to(file.parents[2] / "secret.md")


def put_link_to_itself(file: Path) -> None:
    same = file.with_name("same.md")
    same.write_bytes(b"another")
    file.symlink_to(same)


def put_pipe(file: Path) -> None:
    os.mkfifo(file)


def put_socket(file: Path) -> None:
    here = Path.cwd()
    os.chdir(file.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file.name)
    os.chdir(here)


def put_folder(file: Path) -> None:
    file.mkdir()


def put_device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def put_another(file: Path) -> None:
    file.write_bytes(SECRET)


def put_longer(file: Path) -> None:
    file.write_bytes(TEXT.encode() + b"more\n" * 100_000)


@pytest.mark.parametrize(
    ("number", "put", "status"),
    [(0, put_link, 409), (1, put_link_to_itself, 409), (2, put_pipe, 409), (3, put_socket, 409),
     (4, put_folder, 409), (5, put_device, 409), (6, put_another, 409), (7, put_longer, 409),
     (8, lambda _: None, 404)],
)  # fmt: skip
def test_what_stands_in_its_place_is_not_given_away(
    served: Served, number: int, put: Callable[[Path], None], status: int
) -> None:
    file = served.library.root / f"tides/{number}.md"
    file.unlink()
    put(file)
    answer = served.original(f"tides/{number}.md")
    kind = {404: "original-missing", 409: "original-changed"}[status]
    assert str(served.library.root) not in check(answer, status, kind)["detail"]
    assert b"zebra" not in answer.content


def test_a_folder_that_became_a_link_is_not_followed(served: Served) -> None:
    folder = served.library.root / "tides"
    folder.rename(folder.with_name("before"))
    folder.symlink_to(folder.with_name("before"))
    try:
        check(served.original("tides/11.md"), 409, "original-changed")
    finally:
        folder.unlink()
        folder.with_name("before").rename(folder)
    assert served.original("tides/11.md").status_code == 200


def test_a_file_that_may_not_be_read_is_missing(served: Served) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    file = served.library.root / "tides/10.md"
    file.chmod(0)
    check(served.original("tides/10.md"), 404, "original-missing")
    file.chmod(0o644)


@pytest.mark.parametrize(
    "path", ["../secret.md", "a/../../secret.md", "/etc/passwd", "", ".", "..", "a//b", "./a", "secret.md\x00.md",
             "x" * 5000]
)  # fmt: skip
@pytest.mark.parametrize("follow", [False, True])
def test_no_path_leads_out_of_its_source(served: Served, path: str, follow: bool) -> None:

    digest = hashlib.sha256(SECRET).digest()
    stored = StoredOriginal(path, "folder", str(served.library.root), "", "text/markdown", digest, None)
    with pytest.raises((OriginalMissingError, OriginalChangedError)):
        open_original(stored, follow_symlinks=follow, max_bytes=10**6)


@pytest.mark.parametrize("root", ["", ".", "library", "s3://bucket/docs", "pushed:docs", "/nowhere/at/all"])
def test_what_is_in_no_folder_of_this_machine_is_missing(root: str) -> None:
    stored = StoredOriginal("a.md", "folder", root, "", "text/markdown", b"", None)
    with pytest.raises(OriginalMissingError):
        open_original(stored, follow_symlinks=False, max_bytes=10**6)


def test_where_links_are_followed_none_leads_out_of_the_source(tmp_path: Path) -> None:

    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.md").write_bytes(SECRET)
    (root / "in.md").write_bytes(SECRET)
    (root / "to-out.md").symlink_to(tmp_path / "out.md")
    (root / "to-in.md").symlink_to(root / "in.md")
    digest = hashlib.sha256(SECRET).digest()

    def opened(path: str) -> bytes:
        stored = StoredOriginal(path, "folder", str(root), "", "text/markdown", digest, None)
        return b"".join(open_original(stored, follow_symlinks=True, max_bytes=10**6).parts())

    assert opened("to-in.md") == SECRET
    with pytest.raises(OriginalChangedError, match="link out"):
        opened("to-out.md")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("report.pdf", "report.pdf"),
        ('a"b;c.md', "a_b_c.md"),
        ("a\r\nSet-Cookie: x=y.md", "a__Set-Cookie_ x=y.md"),
        ("Übersicht 潮.md", "_bersicht _.md"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\\b.md", "a_b.md"),
        ("gpj\u202e.exe", "gpj_.exe"),
        ("", "document"),
        ("...", "document"),
        ("\x00", "_"),
        ("x" * 400 + ".pdf", "x" * 150 + ".pdf"),
        ("100%.md", "100_.md"),
        ("'; rm.md", "__ rm.md"),
    ],
)
def test_a_files_name_cannot_leave_its_header(name: str, plain: str) -> None:
    header = attachment(name)
    assert header.startswith(f'attachment; filename="{plain}"; ')
    assert re.fullmatch(r"attachment; filename=\"[^\"\\\r\n]+\"; filename\*=UTF-8''[A-Za-z0-9._~%-]+", header)


@pytest.mark.parametrize("mime", ["", "text", "text/html\r\nX: y", "a/b; c=d", "Text/Html", "text/ä"])
def test_what_is_no_media_type_is_bytes(mime: str) -> None:
    assert media_type(mime) == "application/octet-stream"


def picture(png: bytes) -> Any:
    """The pixels of a PNG as we write it."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    columns, rows = struct.unpack(">II", png[16:24])
    length = struct.unpack(">I", png[33:37])[0]
    raw = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(rows, 1 + columns * 3)
    return np.cumsum(raw[:, 1:], axis=0, dtype=np.uint8).reshape(rows, columns, 3)


def marked(png: bytes) -> Any:
    """Rows and columns of pixels that are marked."""
    pixels = picture(png).astype(int)
    return np.argwhere((pixels[:, :, 0] > 150) & (pixels[:, :, 2] < 140))


def test_a_page_is_drawn_with_its_passage_marked(served: Served) -> None:
    answer = served.client.get(f"/documents/{served.ids['report.pdf']}")
    document = answer.json()
    start = document["text"].index("costs of the year")
    plain = served.page(2)
    assert (plain.status_code, plain.headers["Content-Type"]) == (200, "image/png")
    assert "X-Passage" not in plain.headers
    assert picture(plain.content).shape == (500, 1000, 3)
    assert len(marked(plain.content)) == 0
    with_mark = served.page(2, start=start, end=start + 17)
    assert with_mark.headers["X-Passage"] == "marked"
    places = marked(with_mark.content)
    assert (
        100 < places[:, 0].min() < places[:, 0].max() < 150
    )  # the line stands at 50 of 200 points from the top
    assert 80 < places[:, 1].min() < places[:, 1].max() < 400
    elsewhere = served.page(1, start=start, end=start + 17)
    assert elsewhere.headers["X-Passage"] == "not-found"
    assert picture(served.page(2, width=100).content).shape == (50, 100, 3)


@pytest.mark.parametrize(
    ("number", "parameters", "status", "kind"),
    [
        (3, {}, 404, "unknown-page"), (0, {}, 404, "unknown-page"), ("x", {}, 404, "unknown-page"),
        ("-1", {}, 404, "unknown-page"), ("99999999999", {}, 404, "unknown-page"), ("²", {}, 404, "unknown-page"),
        (1, {"width": 99}, 400, "invalid-request"), (1, {"width": 2001}, 400, "invalid-request"),
        (1, {"start": 1}, 400, "invalid-request"), (1, {"start": 5, "end": 5}, 400, "invalid-request"),
        (1, {"start": -1, "end": 5}, 400, "invalid-request"), (1, {"end": 5}, 400, "invalid-request"),
        (1, {"start": 0, "end": 2**40}, 400, "invalid-request"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told(
    served: Served, number: Any, parameters: dict[str, Any], status: int, kind: str
) -> None:
    check(served.page(number, **parameters), status, kind)


def test_only_pages_of_a_pdf_are_drawn(served: Served) -> None:
    check(served.page(1, "tides/11.md"), 409, "not-drawn")
    (served.library.root / "report.pdf").write_bytes(REPORT + b"\n")
    try:
        assert served.page(1, width=1001).status_code == 409
    finally:
        (served.library.root / "report.pdf").write_bytes(REPORT)


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ("The tides fol-\nlow the moon.", "The tides follow the **moon**"),
        ("Revenue 2021 3,412 Costs 2021 1,200", "| Revenue | 2021 | 3,412 |"),
        ("The ﬁrst of ALL", "first of all"),
        ("x " * 50 + "Straße 5", "STRASSE 5"),
    ],
)
def test_a_passage_is_found_whatever_stands_between_its_letters(text: str, passage: str) -> None:
    assert locate(PageText.of(text), passage)


def test_a_passage_that_goes_on_on_the_next_page_is_found_on_both() -> None:
    first, second = (
        "the quick brown fox jumps over the lazy dog today ",
        "and everybody who sees it is very much amazed by it",
    )
    for page in (first, second):
        assert locate(PageText.of(page), first + second)
    assert not locate(
        PageText.of("nothing of the kind stands on this page at all, whatever it is"), first + second
    )


@pytest.mark.parametrize("passage", ["", "a", "--", "!!!", "the mountains"])
def test_what_stands_nowhere_is_not_found(passage: str) -> None:
    assert locate(PageText.of("The moon pulls the water."), passage) == []


def test_of_a_passage_that_stands_there_several_times_the_one_that_is_meant_is_taken() -> None:
    page = PageText.of("total 5 then total 5 then total 5")
    assert [locate(page, "total 5", n)[0] for n in (0, 1, 2)] == [0, 13, 26]
    assert locate(page, "total 5", 7)[0] == 26


def test_who_may_not_see_a_document_gets_neither_its_original_nor_its_pages(served: Served) -> None:
    conninfo = served.library.conninfo
    with connect(conninfo) as connection:
        connection.execute("insert into collections (name) values ('other') on conflict do nothing")
    limited, full = make_key(conninfo, "admin", ["other"]), make_key(conninfo, "read")
    with running_api(served.library.settings, conninfo) as client:
        for document_id in (*served.ids.values(), 10**6, 10**30, -1, -(10**30)):
            for path in ("original", "pages/1.png?start=0&end=9", "pages/1.png"):
                url = f"/documents/{document_id}/{path}"
                check(client.get(url, headers={"X-API-Key": limited}), 404, "unknown-document")
        url = f"/documents/{served.ids['report.pdf']}/original"
        assert client.get(url, headers={"X-API-Key": full}).status_code == 200
