"""Pushed documents over HTTP: taken, made by the flow, found, filtered, told of when they fail, deleted."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.run.options import Options
from pgfolio.query_api.service import upload_metadata
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.query_api.library import BREAD, make_key, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report

TIDES = {"title": "Tides", "content": "The moon pulls the water, and the tides follow it twice a day."}
PAGE = b"<html><head><title>Volcanoes</title></head><body><p>Lava flows from a volcano.</p></body></html>"
NOTE = b"---\ncategory: birds\n---\n# Owls\n\nAn owl turns its head by 270 degrees.\n"


@pytest.fixture
def client(settings: Settings, conninfo: str) -> Iterator[httpx.Client]:
    """An API over a library, which nothing is pushed to yet."""
    stock(conninfo, settings)
    with running_api(settings, conninfo) as made:
        yield made


@pytest.fixture
def sync(settings: Settings, conninfo: str) -> Callable[..., Report]:
    """What `pgfolio sync pushed` does."""

    def run(**options: Any) -> Report:
        with connect(conninfo) as connection:
            chosen = [source for source in sources.list_sources(connection) if source.kind == "pushed"]
        return run_sync(settings, conninfo, chosen, Options(**options))

    return run


def titles(client: httpx.Client, query: str, **more: Any) -> list[str]:
    answer = client.post("/search", json={"query": query, "limit": 3, **more})
    assert answer.status_code == 200, answer.text
    return [result["title"] for result in answer.json()["results"]]


def pushed(client: httpx.Client, **more: Any) -> str:
    """Its URL."""
    answer = client.post("/documents", **({"json": TIDES} | more))
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json()["url"] == f"/documents/{answer.json()['id']}"
    return str(answer.json()["url"])


def pdf(line: str) -> bytes:
    """One page in Helvetica."""
    stream = f"BT /F1 14 Tf 50 700 Td ({line}) Tj ET".encode()
    font = b"<< /Font << /F1 5 0 R >> >>"
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources %s >>" % font,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def test_a_text_is_pending_and_a_result_after_the_next_sync(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    url = pushed(client)
    waiting = client.get(url).json()
    assert (waiting["state"], waiting["title"], waiting["chunks"]) == ("pending", "Tides", [])
    assert "Tides" not in titles(client, "what makes the tides")
    assert waiting_by_source(client)["pushed"] == 1
    report = sync()
    assert set(waiting_by_source(client).values()) == {0}
    assert (report.status, report.documents.added) == ("complete", 1)
    stored = client.get(url).json()
    assert (stored["state"], stored["title"], stored["text"]) == ("ok", "Tides", TIDES["content"])
    assert (stored["source"], stored["collection"]) == ("pushed", "pushed")
    assert titles(client, "what makes the tides")[0] == "Tides"
    answer = client.post("/ask", json={"question": "What do the tides follow?"}).json()
    assert TIDES["content"].startswith(answer["citations"][0]["quote"].rstrip("."))
    assert sync().documents.unchanged == 1


@pytest.mark.parametrize(
    ("name", "content", "title", "text"),
    [
        ("owls.md", NOTE, "Owls", "An owl turns its head"),
        ("volcano.html", PAGE, "Volcanoes", "Lava flows from a volcano"),
        ("comets.pdf", pdf("Comets have a tail of dust."), "comets.pdf", "tail of dust"),
        ("no suffix", pdf("Comets have a tail of dust."), "no suffix", "tail of dust"),
        ("plain.txt", "Grüße aus München".encode("cp1252"), "plain.txt", "Grüße aus München"),
    ],
)  # fmt: skip
def test_a_file_becomes_what_it_would_be_in_a_folder(
    client: httpx.Client, sync: Callable[..., Report], name: str, content: bytes, title: str, text: str
) -> None:
    url = pushed(client, json=None, files={"file": (name, content)})
    assert sync().status == "complete"
    stored = client.get(url).json()
    assert (stored["state"], stored["title"]) == ("ok", title)
    assert text in stored["text"]
    assert title in titles(client, text)


def test_what_is_said_beside_a_file_counts_as_its_front_matter(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    said = {
        "title": "Night birds",
        "metadata": '{"category": "night", "author": "Ada", "date": "2024-02-03"}',
    }
    url = pushed(client, json=None, files={"file": ("owls.md", NOTE)}, data=said)
    pushed(client, json={**TIDES, "metadata": {"category": "sea"}})
    sync()
    stored = client.get(url).json()
    assert (stored["title"], stored["metadata"]["category"], stored["owner"]) == (
        "Night birds",
        "night",
        "Ada",
    )
    assert stored["created_at"].startswith("2024-02-03")
    assert titles(client, "an owl", filter={"category": "night"}) == ["Night birds"]
    assert titles(client, "an owl", filter={"category": "sea"}) == ["Tides"]
    assert titles(client, "an owl", filter={"source": "pushed", "title": "Tides"}) == ["Tides"]


def test_who_waits_gets_the_document(client: httpx.Client, sync: Callable[..., Report]) -> None:
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(client.post, "/documents?wait=15", json=TIDES)
        wait_until(lambda: sync().documents.added == 1)
        answer = answered.result()
    assert (answer.status_code, answer.json()["state"]) == (201, "ok")
    assert answer.headers["Location"] == f"/documents/{answer.json()['id']}"
    assert client.get(answer.headers["Location"]).json()["chunks"] == answer.json()["chunks"]
    assert titles(client, "what makes the tides")[0] == "Tides"


def test_waiting_for_a_broken_file_answers_why_it_failed(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(
            client.post, "/documents?wait=15", files={"file": ("x.pdf", b"%PDF-1.4 broken")}
        )
        wait_until(lambda: sync().documents.failed == 1)
        answer = answered.result()
    assert "cannot be read as application/pdf" in check(answer, 422, "push-failed")["detail"]
    failed = client.get(answer.headers["Location"]).json()
    assert (failed["state"], failed["title"]) == ("failed", "x.pdf")
    assert "cannot be read as application/pdf" in failed["reason"]
    problems = client.get("/status").json()["problems"]
    assert [(p["source"], p["path"], p["stage"]) for p in problems] == [
        ("pushed", f"{failed['id']}.pdf", "extract")
    ]
    assert client.delete(answer.headers["Location"]).status_code == 204
    assert client.get("/status").json()["problems"] == []


def test_waiting_without_a_sync_answers_that_it_is_pending(client: httpx.Client) -> None:
    began = time.monotonic()
    answer = client.post("/documents", params={"wait": 1}, json=TIDES)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert 1.0 <= time.monotonic() - began < 5.0


def test_the_longest_wait_is_bounded(new_settings: Callable[..., Settings], conninfo: str) -> None:
    settings = new_settings(database_url=conninfo, api={"max_wait": 0.3})
    with running_api(settings, conninfo) as client:
        began = time.monotonic()
        assert client.post("/documents", params={"wait": 3600}, json=TIDES).status_code == 202
        assert time.monotonic() - began < 5.0


def test_what_is_deleted_is_gone_at_once(
    client: httpx.Client, sync: Callable[..., Report], conninfo: str
) -> None:
    url = pushed(client)
    sync()
    assert "Tides" in titles(client, "what makes the tides")
    assert client.delete(url).status_code == 204
    assert "Tides" not in titles(client, "what makes the tides")
    check(client.get(url), 404, "unknown-document")
    check(client.delete(url), 404, "unknown-document")
    assert sync().documents.removed == 0
    check_sound(conninfo)


def test_what_is_deleted_before_it_is_made_is_never_made(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    url = pushed(client)
    assert client.delete(url).status_code == 204
    assert sync().documents.added == 0
    check(client.get(url), 404, "unknown-document")


def test_a_document_of_a_folder_is_deleted_in_its_folder(client: httpx.Client) -> None:
    item = client.get("/documents", params={"path": BREAD.path}).json()["items"][0]
    answer = client.delete(f"/documents/{item['id']}")
    detail = check(answer, 409, "from-folder")["detail"]
    assert "'kitchen'" in detail
    assert BREAD.path in detail
    assert client.get(f"/documents/{item['id']}").status_code == 200


def test_many_uploads_at_once_are_all_made_in_one_run(
    client: httpx.Client, sync: Callable[..., Report], conninfo: str
) -> None:
    def push(number: int) -> str:
        text = f"The lighthouse number {number} stands on its own rock."
        return pushed(client, json={"title": f"Lighthouse {number}", "content": text, "collection": "coast"})

    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(push, range(24)))
    assert len(set(urls)) == 24
    report = sync()
    assert (report.status, report.documents.added) == ("complete", 24)
    assert {client.get(url).json()["title"] for url in urls} == {f"Lighthouse {n}" for n in range(24)}
    check_sound(conninfo)


def test_the_same_text_uploaded_twice_is_two_documents_and_embedded_once(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    first = pushed(client)
    assert sync().chunks.embedded == 1
    second = pushed(client)
    report = sync()
    assert (report.documents.added, report.chunks.embedded, report.chunks.reused) == (1, 0, 1)
    assert first != second
    client.delete(first)
    client.delete(second)
    pushed(client)
    assert sync().chunks.embedded == 0


def test_uploads_are_made_anew_from_their_stored_bytes(
    client: httpx.Client, sync: Callable[..., Report], new_settings: Callable[..., Settings], conninfo: str
) -> None:
    """For a full sync, and for another fingerprint; their ids stay."""
    url = pushed(client)
    sync()
    assert sync(full=True).documents.unchanged == 1
    planned = sync(plan_only=True, full=True)
    assert (planned.status, planned.documents.unchanged) == ("planned", 1)
    other = new_settings(database_url=conninfo, chunking={"tokens": 128, "overlap": 16})
    with connect(conninfo) as connection:
        chosen = [source for source in sources.list_sources(connection) if source.kind == "pushed"]
    report = run_sync(other, conninfo, chosen, Options())
    assert (report.documents.changed, report.documents.added) == (1, 0)
    assert client.get(url).json()["state"] == "ok"
    check_sound(conninfo)


def test_a_plan_says_what_a_sync_would_make_and_makes_nothing(
    client: httpx.Client, sync: Callable[..., Report]
) -> None:
    url = pushed(client)
    planned = sync(plan_only=True)
    assert planned.documents.added == 1
    assert planned.tokens > 0
    assert client.get(url).json()["state"] == "pending"


def test_an_upload_that_is_too_large_is_a_problem(
    new_settings: Callable[..., Settings], conninfo: str
) -> None:
    settings = new_settings(database_url=conninfo, api={"max_push_mb": 2, "max_body_kb": 16})
    with running_api(settings, conninfo) as client:
        large = {"title": "x", "content": "word " * 500_000}
        for sent in ({"json": large}, {"files": {"file": ("x.txt", b"word " * 500_000)}}):
            detail = check(client.post("/documents", **sent), 413, "too-large")["detail"]
            assert "PGFOLIO_API__MAX_PUSH_MB" in detail
        assert client.post("/documents", json={"title": "x", "content": "word " * 100_000}).status_code == 202


def test_a_push_with_more_metadata_than_a_document_may_have_is_refused(client: httpx.Client) -> None:
    most = {"a": "x" * (64 * 1024 - 8)}
    pushed(client, json={**TIDES, "metadata": most})
    more = {"a": "\u00e4" * 40_000}
    for sent in (
        {"json": {**TIDES, "metadata": more}},
        {"data": {"metadata": json.dumps(more)}, "files": {"file": ("a.md", b"x")}},
    ):
        detail = check(client.post("/documents", **sent), 413, "too-large")["detail"]
        assert "80,008 bytes" in detail
        assert "65,536" in detail


def _nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"json": {}}, "title"),
        ({"json": {"title": "x"}}, "content"),
        ({"json": {"title": "", "content": "x"}}, "title"),
        ({"json": {"title": "a\x00b", "content": "x"}}, "title"),
        ({"json": {"title": "a", "content": "x", "collection": "a\nb"}}, "collection"),
        ({"json": {"title": "a", "content": "x", "collection": "  "}}, "collection"),
        ({"json": {"title": "x" * 501, "content": "x"}}, "title"),
        ({"json": {"title": "x", "content": 1}}, "content"),
        ({"json": {"title": "x", "content": "x", "path": "/etc/passwd"}}, "path"),
        ({"json": {"title": "x", "content": "x", "metadata": {"a": "\x00"}}}, "NUL"),
        ({"json": {"title": "x", "content": "x", "metadata": {"a\x00": 1}}}, "NUL"),
        ({"json": {"title": "x", "content": "x", "metadata": []}}, "metadata"),
        ({"json": {"title": "x", "content": "x", "metadata": {"a": [0] * 3000}}}, "2000 values"),
        ({"json": {"title": "x", "content": "x", "metadata": _nested(60)}}, "50 levels"),
        ({"json": {"title": "x", "content": "x", "collection": ""}}, "collection"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "request"),
        ({"content": b'{"title": "\xff"}', "headers": {"content-type": "application/json"}}, "request"),
        ({"content": b"hello", "headers": {"content-type": "text/plain"}}, "multipart/form-data"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}, "file"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "file"),
        ({"data": {"title": "x"}, "files": {"other": ("a", b"x")}}, "file"),
        ({"data": {"metadata": "{"}, "files": {"file": ("a", b"x")}}, "request"),
        ({"data": {"metadata": "[]"}, "files": {"file": ("a", b"x")}}, "metadata"),
        ({"data": {"name": "x"}, "files": {"file": ("a", b"x")}}, "name"),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"x"))]}, "twice"),
        (
            {
                "content": b'--y\r\nContent-Disposition: form-data; name="title"\r\n'
                b"Content-Type: text/plain; charset=nonsense\r\n\r\nx\r\n--y--\r\n",
                "headers": {"content-type": "multipart/form-data; boundary=y"},
            },
            "request",
        ),
    ],
)
def test_the_error_of_a_wrong_upload_says_what_is_wrong(
    api: httpx.Client, sent: dict[str, Any], said: str
) -> None:
    assert said in check(api.post("/documents", **sent), 400, "invalid-request")["detail"]


@pytest.mark.parametrize("wait", ["-1", "x", "1.5", "99999"])
def test_a_wrong_wait_is_a_problem(api: httpx.Client, wait: str) -> None:
    check(api.post("/documents", params={"wait": wait}, json=TIDES), 400, "invalid-request")


@pytest.fixture
def limited(client: httpx.Client, conninfo: str) -> Callable[..., dict[str, str]]:
    """Headers with a key for some collections."""

    def made(*collections: str, scope: str = "write") -> dict[str, str]:
        key = make_key(conninfo, scope, collections)
        headers = {"X-API-Key": key}
        wait_until(lambda: client.get("/documents").status_code == 401)
        wait_until(lambda: client.get("/documents", headers=headers).status_code == 200)
        return headers

    return made


def test_a_limited_key_uploads_into_what_it_may_see(
    client: httpx.Client, sync: Callable[..., Report], limited: Callable[..., dict[str, str]]
) -> None:
    manual = limited("manual")
    url = pushed(client, headers=manual)
    assert client.get(url, headers=manual).json()["collection"] == "manual"
    sync()
    assert client.get(url, headers=manual).json()["source"] == "pushed/manual"
    assert client.get(url, headers=manual).json()["state"] == "ok"
    for name in ("kitchen", "atlantis"):
        answer = client.post("/documents", headers=manual, json={**TIDES, "collection": name})
        assert name in check(answer, 404, "unknown-collection")["detail"]
    both = limited("manual", "kitchen")
    check(client.post("/documents", headers=both, json=TIDES), 400, "which-collection")
    pushed(client, headers=both, json={**TIDES, "collection": "kitchen"})


@pytest.mark.parametrize("made", [False, True])
def test_a_push_that_is_not_permitted_is_like_one_that_is_not_there(
    client: httpx.Client, sync: Callable[..., Report], limited: Callable[..., dict[str, str]], *, made: bool
) -> None:
    everything, kitchen = limited(), limited("kitchen")
    url = pushed(client, headers=everything, json={**TIDES, "collection": "manual"})
    if made:
        sync()
    check(client.get(url, headers=kitchen), 404, "unknown-document")
    check(client.delete(url, headers=kitchen), 404, "unknown-document")
    assert client.get(url, headers=everything).json()["state"] == ("ok" if made else "pending")
    own = client.get("/documents", params={"path": BREAD.path}, headers=kitchen).json()["items"][0]["id"]
    check(client.delete(f"/documents/{own}", headers=kitchen), 409, "from-folder")
    check(client.delete(f"/documents/{own}", headers=limited("manual")), 404, "unknown-document")


def test_a_delete_waits_for_a_flow_that_stores_the_same_push(
    client: httpx.Client, sync: Callable[..., Report], conninfo: str
) -> None:
    """Deleted again and again while the flow works: nothing comes back, nothing is left."""
    urls = [
        pushed(client, json={"title": f"T{n}", "content": f"Text number {n} of many."}) for n in range(60)
    ]
    flow = threading.Thread(target=sync)
    flow.start()
    for url in urls:
        assert client.delete(url).status_code == 204
    flow.join()
    sync()
    assert {client.get(url).status_code for url in urls} == {404}
    assert client.get("/documents", params={"source": "pushed"}).json()["items"] == []
    check_sound(conninfo)


@pytest.mark.parametrize(
    ("name", "label", "suffix"),
    [
        ("report.pdf", "report.pdf", ".pdf"),
        ("../../etc/passwd", "passwd", ""),
        ("C:\\files\\Report.PDF", "Report.PDF", ".pdf"),
        ("a\x00b\nc.md", "a b c.md", ".md"),
        ("x." + "a" * 300, "x." + "a" * 198, ""),
        (".htaccess", ".htaccess", ""),
        ("name.p/df", "df", ""),
        ("日本語.txt", "日本語.txt", ".txt"),
        ("\u202efdp.exe", "fdp.exe", ".exe"),
        ("a\ud800.md", "a .md", ".md"),
        ("", "untitled", ""),
        ("/", "untitled", ""),
    ],
)
def test_a_name_is_a_label(name: str, label: str, suffix: str) -> None:
    assert (upload_metadata.display_name(name), upload_metadata.suffix(name)) == (label, suffix)


def waiting_by_source(client: httpx.Client) -> dict[str, int]:
    return {source["name"]: source["pending"] for source in client.get("/status").json()["sources"]}


def check_sound(conninfo: str) -> None:
    """What is stored of pushes is what the ledger says, and nothing is left of others."""
    findings = run_verify(conninfo).findings
    assert [f for f in findings if f.source is None or f.source.startswith("pushed")] == []


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
