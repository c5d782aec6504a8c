"""A bucket as a source: the same promises as for a folder, by as few requests as there can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.discovery.listing import SourceUnreachable
from pgfolio.flows.discovery.sources import NoSuchSourceError, selected_sources
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.database.connect import connect
from tests.flows.library import counts
from tests.flows.remote.s3_server import BUCKET, Bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report

URL = f"s3://{BUCKET}/docs"
LONG_AGO = datetime(2020, 5, 4, 3, 2, 1, 678000, tzinfo=UTC)


def text(n: int) -> str:
    return f"# Page {n}\n\nThis is the page about the number {n}, and what follows from {n * n}.\n"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with s3_server() as (bucket, endpoint):
        for name, value in {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret-of-somebody",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }.items():
            monkeypatch.setenv(name, value)
        yield bucket


@pytest.fixture
def sync(settings: Settings, conninfo: str, bucket: Bucket) -> Any:
    def run(*names: str, settings: Settings = settings, **options: Any) -> Report:
        with connect(conninfo) as connection:
            sources = selected_sources(connection, settings, names or (URL,))
        return run_sync(settings, conninfo, sources, Options(**options))

    return run


def stored(conninfo: str) -> dict[str, str]:
    with connect(conninfo) as connection:
        return dict(connection.execute("select path, text from documents order by path").fetchall())


def fill(bucket: Bucket, count: int = 12) -> None:
    for n in range(count):
        bucket.put(f"docs/{'a' if n % 2 else 'b/c d'}/page {n}.md", text(n), LONG_AGO)


@pytest.mark.parametrize("bare_tags", [False, True])
def test_a_bucket_is_synced_and_a_second_sync_asks_for_the_listing_alone(
    bucket: Bucket, sync: Any, conninfo: str, bare_tags: bool
) -> None:
    bucket.bare_tags = bare_tags
    fill(bucket)
    bucket.put("other/not ours.md", "no")
    report = sync()
    assert (report.status, counts(report)) == ("complete", {"added": 12})
    assert stored(conninfo)["b/c d/page 4.md"] == text(4)
    bucket.requests.clear()
    assert counts(sync()) == {"unchanged": 12}
    assert bucket.requests == ["LIST docs/"]


def test_it_is_what_the_same_tree_on_disk_comes_to(
    bucket: Bucket, sync: Any, conninfo: str, tmp_path: Path, settings: Settings
) -> None:
    """With ignore files, litter, hidden and empty files, and what no document is."""
    files: dict[str, bytes] = {
        "a.md": b"# One\n\nThe first page of all.",
        "deep/b.txt": b"The second page, further down.",
        "deep/.gitignore": b"drafts/\n*.log\n",
        "deep/drafts/c.md": b"# Draft\n\nNot to be found.",
        "deep/x.log": b"noise",
        ".pgfolioignore": b"private.md\n",
        "private.md": b"# Private",
        ".hidden/d.md": b"# Hidden",
        "~$lock.docx": b"litter",
        "empty.md": b"",
        "picture.bin": bytes(range(256)) * 4,
        "unicode/\u00fcber %20 all.md": "# \u00dcber\n\nEine Seite.".encode(),
    }
    folder = tmp_path / "tree"
    for path, data in files.items():
        bucket.put(f"docs/{path}", data, LONG_AGO)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    bucket.put("docs/deep/", b"")  # as consoles make for a folder
    report = sync()
    on_disk = sync(str(folder))
    query = (
        "select d.path, d.text, d.title, d.content_hash, d.mime, c.ordinal, c.content, c.start_at, c.end_at "
        "from documents d join chunks c on c.document_id = d.id join sources s on s.id = d.source_id "
        "where (s.kind = 'remote') = %s order by 1, 6"
    )
    with connect(conninfo) as connection:
        remote, local = (connection.execute(query, (kind,)).fetchall() for kind in (True, False))
        skipped = [
            connection.execute(
                "select l.path, l.reason from ledger l join sources s on s.id = l.source_id "
                "where l.state = 'skipped' and s.kind = %s order by 1",
                (kind,),
            ).fetchall()
            for kind in ("remote", "folder")
        ]
    assert remote == local
    assert {row[0] for row in remote} == {"a.md", "deep/b.txt", "unicode/\u00fcber %20 all.md"}
    assert skipped[0] == skipped[1]
    assert (report.status, counts(report)) == (on_disk.status, counts(on_disk))


def test_changes_are_found_and_what_is_gone_is_removed(bucket: Bucket, sync: Any, conninfo: str) -> None:
    fill(bucket)
    sync()
    bucket.put("docs/a/page 1.md", "# Page 1\n\nAnother text by now.", LONG_AGO)
    bucket.put("docs/a/new.md", "# New\n\nA page that was not there.")
    del bucket.objects["docs/a/page 3.md"]
    bucket.requests.clear()
    report = sync()
    assert counts(report) == {"added": 1, "changed": 1, "removed": 1, "unchanged": 10}
    assert sorted(bucket.of("GET")) == ["GET docs/a/new.md", "GET docs/a/page 1.md"]
    assert stored(conninfo)["a/page 1.md"] == "# Page 1\n\nAnother text by now."
    assert counts(sync()) == {"unchanged": 12}


def test_a_moved_object_is_known_by_its_checksum_and_costs_nothing(
    bucket: Bucket, sync: Any, conninfo: str
) -> None:
    fill(bucket)
    sync()
    bucket.objects["docs/elsewhere/moved.md"] = bucket.objects.pop("docs/a/page 5.md")
    bucket.requests.clear()
    report = sync()
    assert counts(report) == {"moved": 1, "unchanged": 11}
    assert (report.chunks.embedded, bucket.of("GET")) == (0, [])
    assert stored(conninfo)["elsewhere/moved.md"] == text(5)


def test_a_listing_that_is_cut_changes_nothing(bucket: Bucket, sync: Any, conninfo: str) -> None:
    bucket.page_size = 5
    fill(bucket)
    sync()
    before = stored(conninfo)
    bucket.listing_ends_after = 1
    with pytest.raises((FailedError, SourceUnreachable), match="cannot be listed"):
        sync()
    assert stored(conninfo) == before
    bucket.listing_ends_after = None
    assert counts(sync()) == {"unchanged": 12}


@pytest.mark.parametrize("gone", ["all", "one folder"])
def test_a_listing_that_succeeds_and_hides_what_is_there_removes_nothing(
    bucket: Bucket, sync: Any, conninfo: str, gone: str
) -> None:
    """As a narrowed policy does it: the objects can be asked for still."""
    fill(bucket)
    sync()
    if gone == "all":
        bucket.hidden = True
    else:
        bucket.hidden_prefix = "docs/a/"
    report = sync(approve_deletes=100)
    assert report.status == "partial"
    assert len(stored(conninfo)) == 12
    bucket.hidden, bucket.hidden_prefix = False, None
    assert counts(sync()) == {"unchanged": 12}


def test_an_emptied_bucket_is_held(bucket: Bucket, sync: Any, conninfo: str) -> None:
    fill(bucket)
    sync()
    kept = dict(bucket.objects)
    bucket.objects.clear()
    report = sync()
    assert counts(report) == {"held": 12}
    assert len(stored(conninfo)) == 12
    bucket.objects.update(kept)
    assert counts(sync()) == {"unchanged": 12}
    bucket.objects.clear()
    assert counts(sync(approve_deletes=12)) == {"removed": 12}


def test_who_slows_us_down_is_asked_again(bucket: Bucket, sync: Any) -> None:
    fill(bucket)
    bucket.throttled = 3
    assert counts(sync()) == {"added": 12}


def test_credentials_that_are_gone_are_a_sentence_without_them(
    bucket: Bucket, sync: Any, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(bucket)
    sync()
    bucket.refused = True
    with pytest.raises((FailedError, SourceUnreachable, NoSuchSourceError)) as caught:
        sync()
    assert "these credentials may not (403)" in str(caught.value)
    assert "secret-of-somebody" not in str(caught.value) + caplog.text
    assert len(stored(conninfo)) == 12


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("after", [0, 4])
def test_credentials_that_expire_in_the_middle_remove_nothing_and_the_next_sync_goes_on(
    bucket: Bucket, sync: Any, conninfo: str, status: int, after: int
) -> None:
    """S3 says 400, others 403. One object is gone, one is new under another name, twelve are new."""
    fill(bucket)
    sync()
    before = stored(conninfo)
    del bucket.objects["docs/a/page 1.md"]
    for n in range(100, 112):
        bucket.put(f"docs/new/page {n}.md", text(n), LONG_AGO)
    bucket.requests.clear()
    bucket.expires_after, bucket.expired_status = after, status
    try:
        report = sync()
        assert report.status == "partial"
        said = " ".join(problem.reason for problem in report.problems)
    except (FailedError, SourceUnreachable, NoSuchSourceError) as error:
        said = str(error)
    assert "the credentials have expired: renew them, then sync again" in said
    assert "secret-of-somebody" not in said
    assert before.keys() <= stored(conninfo).keys()
    bucket.expires_after = None
    assert sync().status == "complete"
    assert len(stored(conninfo)) == 23


def test_objects_that_cannot_be_read_now_wait_for_the_next_sync(
    bucket: Bucket, sync: Any, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfolio.flows.remote.object_store.RETRY", {"max_retries": 0})
    fill(bucket)
    bucket.broken_reads = True
    report = sync()
    assert (report.status, stored(conninfo)) == ("partial", {})
    bucket.broken_reads = False
    assert counts(sync()) == {"added": 12}


def test_a_key_that_is_no_path_hides_its_folder_alone(bucket: Bucket, sync: Any, conninfo: str) -> None:
    fill(bucket)
    sync()
    bucket.put("docs/a//strange.md", "# Strange")
    bucket.put("docs/b/new.md", "# New\n\nA page beside it.")
    report = sync()
    assert report.status == "partial"
    assert any("no path" in problem.reason for problem in report.problems)
    assert len(stored(conninfo)) == 13
    del bucket.objects["docs/a//strange.md"]
    assert counts(sync()) == {"unchanged": 13}


def test_an_object_that_changes_between_listing_and_reading_is_read_again(
    bucket: Bucket, sync: Any, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgfolio.flows.remote.object_store import ObjectStore

    fill(bucket, 2)
    read = ObjectStore.read

    def changed_first(self: ObjectStore, path: str, max_bytes: int) -> Any:
        bucket.put(f"docs/{path}", f"# Changed\n\n{path} has another text.", LONG_AGO + timedelta(days=1))
        return read(self, path, max_bytes)

    monkeypatch.setattr(ObjectStore, "read", changed_first)
    sync()
    monkeypatch.undo()
    assert all("another text" in each for each in stored(conninfo).values())


def test_a_mistyped_bucket_becomes_no_source(bucket: Bucket, sync: Any, conninfo: str) -> None:
    fill(bucket)
    with pytest.raises(NoSuchSourceError, match="there is no such bucket"):
        sync("s3://buckett/docs")
    with connect(conninfo) as connection:
        assert connection.execute("select count(*) from sources").fetchone() == (0,)


def test_a_source_of_the_settings_may_be_a_url_with_rules(
    bucket: Bucket, sync: Any, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    fill(bucket)
    rules = {"name": "pages", "root": f"{URL}/", "collection": "manual", "exclude": ["/a/"]}
    settings = new_settings(database_url=conninfo, sources=[rules])
    assert counts(sync("pages", settings=settings)) == {"added": 6}
    wider = new_settings(database_url=conninfo, sources=[{**rules, "exclude": ["page 0.md"]}])
    assert counts(sync("pages", settings=wider)) == {"added": 6, "removed": 1, "unchanged": 5}


def test_large_objects_are_listed_as_problems_and_none_is_read_beyond_the_limit(
    bucket: Bucket, sync: Any, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    settings = new_settings(database_url=conninfo, crawl={"max_file_mb": 0.01})
    bucket.put("docs/large.txt", b"large " * 10_000)
    bucket.put("docs/small.md", text(1))
    report = sync(settings=settings)
    assert [problem.path for problem in report.problems] == ["large.txt"]
    assert list(stored(conninfo)) == ["small.md"]
    assert bucket.of("GET") == ["GET docs/small.md"]
