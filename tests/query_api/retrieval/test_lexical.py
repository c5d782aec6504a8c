"""Search by words: languages, scripts without spaces, names, phrases, and how rare a word is."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pgfolio.flows.extraction.language import FINGERPRINT
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.services import open_services
from pgfolio.schema.corpus import word_statistics
from pgfolio.schema.database.connect import connect
from tests.databases import empty_database
from tests.flows.library import Library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.answering.records import Answer
    from pgfolio.query_api.retrieval.query import Mode

ENGLISH = (
    "To retry a failed task, set the number of retries on its decorator. The houses stand on the hill.\n"
)
GERMAN = (
    "Um eine fehlgeschlagene Aufgabe zu wiederholen, setzen Sie die Anzahl der Versuche im Dekorator. "
    "Die Häuser stehen auf dem Hügel. Der Ansprechpartner heißt 王小明.\n"
)
POLISH = (
    "Jeśli drukarka nie odpowiada, sprawdź połączenie sieciowe i uruchom ponownie usługę drukowania. "
    "Następnie wydrukuj stronę próbną.\n"
)
CHINESE = "要重试失败的任务 请在装饰器中设置重试次数。地址由环境变量PREFECT_API_URL设置。水\n"
JAPANESE = "失敗したタスクを再試行するには、デコレータで再試行回数を設定します。\n"
THAI = "หากต้องการลองงานที่ล้มเหลวอีกครั้ง ให้ตั้งค่าจำนวนครั้งที่ลองใหม่ในตัวตกแต่ง\n"
PAGES = {
    "en/retries.md": ENGLISH,
    "de/wiederholung.md": GERMAN,
    "pl/drukarka.md": POLISH,
    "zh/retry.md": CHINESE,
    "ja/retry.md": JAPANESE,
    "th/retry.md": THAI,
    "en/settings.md": "Prefect has an API with a URL. The API of Prefect: its URL, api, url.\n",
    "en/client.md": "Before the client connects it reads PREFECT_API_URL; other values are ignored, as ever.\n",
    "en/errors.md": "When the disk is full the server answers ERR-1042 and stops. An err is human.\n",
    "en/serve.md": "Call flow.serve to keep a process running that polls for due work, all day long.\n",
    "en/dinner.md": "They serve dinner with the flow of conversation; to serve and to flow is an art.\n",
    "en/access.md": "Who may connect is written in /etc/postgresql/pg_hba.conf on the server, one rule a line.\n",
    "en/order.md": "The policy of the retry is decided later. A retry needs a policy, says the manual of policy.\n",
    "en/policy.md": "A flow may name its retry policy, which is then used for all that it starts itself.\n",
    "Meeting Notes/Quarterly budget 2024 (final).txt": "The total is four million, and travel takes the most.\n",
    "office/annual_report_2023.txt": "Revenue grew by nine percent over all regions.\n",
    "会議メモ.txt": "本日は売上について話し合いました。次回は来週です。\n",
}


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory, new_settings: Any, new_database: Any) -> Any:
    with new_database() as conninfo:
        yield stored(tmp_path_factory.mktemp("pages"), new_settings(database_url=conninfo), conninfo, PAGES)


def stored(root: Path, settings: Settings, conninfo: str, pages: dict[str, str]) -> Library:
    library = Library(root, conninfo, settings)
    for path, text in pages.items():
        library.write(path, text)
    assert library.sync().status == "complete"
    return library


def search_paths(
    library: Library, text: str, mode: Mode = "lexical", limit: int = 50, **options: Any
) -> list[str]:
    """Paths, the best first."""

    async def search() -> Sequence[str]:
        async with open_services(library.settings, library.conninfo) as services:
            retrieved = await services.retriever.retrieve(Query(text, limit, mode, **options), None)
            return [one.hit.path for one in retrieved.results]

    return list(dict.fromkeys(asyncio.run(search())))


def test_each_document_is_stored_in_its_own_language(synced: Library) -> None:
    rows = dict(synced.rows("select path, language::text from documents"))
    languages = {
        path: rows[path] for path in ("en/retries.md", "de/wiederholung.md", "zh/retry.md", "ja/retry.md")
    }
    assert list(languages.values()) == ["english", "german", "simple", "simple"]


@pytest.mark.parametrize(
    ("question", "path"),
    [
        ("how are tasks retried when failing", "en/retries.md"),
        ("a house on hills", "en/retries.md"),
        ("Haus auf Hügeln", "de/wiederholung.md"),
        ("wiederholte Aufgaben", "de/wiederholung.md"),
        ("Ansprechperson", "de/wiederholung.md"),
        ("wer ist 王小明", "de/wiederholung.md"),
        ("brak odpowiedzi po połączeniu przez sieć", "pl/drukarka.md"),
        ("任务失败了怎么重试", "zh/retry.md"),
        ("タスクの再試行", "ja/retry.md"),
        ("ลองใหม่", "th/retry.md"),
        ("水", "zh/retry.md"),
        ("装饰", "zh/retry.md"),
    ],
)
def test_a_question_is_matched_in_the_language_of_each_document(
    synced: Library, question: str, path: str
) -> None:
    assert search_paths(synced, question)[:1] == [path]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize(
    ("question", "path"),
    [
        ("Quarterly budget 2024 (final).txt", "Meeting Notes/Quarterly budget 2024 (final).txt"),
        (
            "meeting notes/quarterly budget 2024 (final).txt",
            "Meeting Notes/Quarterly budget 2024 (final).txt",
        ),
        (' "quarterly budget 2024 (final)" ', "Meeting Notes/Quarterly budget 2024 (final).txt"),
        ("annual report 2023", "office/annual_report_2023.txt"),
        ("会議メモ", "会議メモ.txt"),
        ("会議メモ.txt", "会議メモ.txt"),
    ],
)
def test_a_document_matches_by_its_files_name_whatever_is_in_it(
    synced: Library, mode: Mode, question: str, path: str
) -> None:
    assert search_paths(synced, question, mode)[:1] == [path]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize(
    ("question", "paths"),
    [
        ("PREFECT_API_URL", {"en/client.md", "zh/retry.md"}),
        ("how do I set prefect_api_url?", {"en/client.md", "zh/retry.md"}),
        ("what is ERR-1042", {"en/errors.md"}),
        ("flow.serve", {"en/serve.md"}),
        ("where is pg_hba.conf", {"en/access.md"}),
        ("/etc/postgresql/pg_hba.conf", {"en/access.md"}),
    ],
)
def test_a_name_ranks_chunks_that_have_all_of_it_above_those_that_share_its_parts(
    synced: Library, mode: Mode, question: str, paths: set[str]
) -> None:
    assert set(search_paths(synced, question, mode)[: len(paths)]) == paths


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize("question", ["wiederholung.md", "open de/wiederholung.md, please"])
def test_a_document_matches_by_its_file_name_and_path(synced: Library, mode: Mode, question: str) -> None:
    assert search_paths(synced, question, mode)[0] == "de/wiederholung.md"


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_a_name_of_stop_words_and_an_ampersand_is_found(
    tmp_path: Path, settings: Settings, conninfo: str, mode: Mode
) -> None:
    files = {
        "lines.md": "The lines of AT&T run along the coast.\n",
        "other.md": "The lines along the coast, at t junctions.\n",
    }
    library = stored(tmp_path, settings, conninfo, files)
    assert search_paths(library, "AT&T", mode)[0] == "lines.md"
    assert search_paths(library, "at&t", "lexical") == ["lines.md"]


def test_a_moved_document_matches_by_its_new_name(tmp_path: Path, settings: Settings, conninfo: str) -> None:
    library = stored(tmp_path, settings, conninfo, {"old_name.md": ENGLISH, "other.md": GERMAN})
    (tmp_path / "old_name.md").rename(tmp_path / "new_name.md")
    library.sync()
    assert search_paths(library, "new_name.md") == ["new_name.md"]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_chunks_with_a_quoted_phrase_come_first(synced: Library, mode: Mode) -> None:
    assert search_paths(synced, '"retry policy"', mode)[0] == "en/policy.md"
    assert search_paths(synced, 'what is the "Retry  Policy" for', mode)[0] == "en/policy.md"
    assert search_paths(synced, "「重试次数」", mode)[0] == "zh/retry.md"


def test_a_phrase_that_nothing_has_is_like_its_words(synced: Library) -> None:
    assert search_paths(synced, '"policy retry manual decided"')[0] == "en/order.md"
    assert search_paths(synced, '"what is the"', "hybrid")


def test_a_phrase_is_searched_in_the_collections_only(synced: Library) -> None:
    assert search_paths(synced, '"retry policy" pg_hba.conf access.md', collections=("library",))
    with connect(synced.conninfo) as connection:
        connection.execute("insert into collections (name) values ('empty') on conflict do nothing")
    assert (
        search_paths(synced, '"retry policy" pg_hba.conf access.md', "hybrid", collections=("empty",)) == []
    )


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(alphabet=st.characters() | st.sampled_from("'\"\\:*&|!()<->_./ 重试\x00"), max_size=120))
def test_any_text_can_be_a_question(synced: Library, text: str) -> None:
    search_paths(synced, text, "hybrid")


def test_the_language_filter_takes_names_and_codes(synced: Library) -> None:
    from pgfolio.query_api.retrieval.filter_parser import parse

    for value in ("german", "de"):
        assert search_paths(synced, "Aufgabe", condition=parse({"language": value})) == ["de/wiederholung.md"]


def test_another_fallback_language_reads_all_anew(
    tmp_path: Path, settings: Settings, conninfo: str, new_settings: Any
) -> None:
    library = stored(tmp_path, settings, conninfo, {"a.md": "Häuser 12\n"})
    library.settings = new_settings(database_url=conninfo, search={"language": "german"})
    library.sync()
    assert library.rows("select language::text, lexemes::text from chunks") == [
        ("german", "'12':2 'haus':1 'häuse*':3")
    ]


DE = "---\nlanguage: de\n---\n"
EN = "---\nlanguage: en\n---\n"


def test_a_word_counts_once_though_its_prefix_matches_too(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    """Else a long word would be worth twice as much as a short one, and a German page as an English one."""
    long, short = (
        "Am Ende steht ein Drucker da und sagt weiter nichts.\n",
        "Am Ende das Boot, ein Boot, und nichts.\n",
    )
    library = stored(tmp_path, settings, conninfo, {"long.md": DE + long, "short.md": DE + short})
    assert search_paths(library, "Drucker und Boot") == ["short.md", "long.md"]
    assert search_paths(library, "Druckerei") == ["long.md"]


def test_a_word_counts_once_where_candidates_are_selected(
    tmp_path: Path, new_settings: Any, conninfo: str
) -> None:
    """More pages have the long word than are ranked."""
    settings = new_settings(database_url=conninfo, search={"candidates": 10})
    pages = {f"long/{n}.md": DE + f"Da ist ein Drucker mit Nummer {n}.\n" for n in range(80)}
    pages |= {f"short/{n}.md": DE + f"Da ist ein Boot mit Nummer {n}.\n" for n in range(80)}
    pages["best.md"] = DE + "Da ist ein Boot am Boot im Boot mit Boot.\n"
    library = stored(tmp_path, settings, conninfo, pages)
    assert search_paths(library, "Boot Drucker", limit=1) == ["best.md"]


def test_words_that_share_a_stem_in_some_language_are_several_words(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    """They are listed under one of them, which a capital letter decides."""
    pages = {f"de/{n}.md": DE + f"Am See Nummer {n} steht ein Haus.\n" for n in range(4)}
    pages |= {
        "both.md": EN + "A server can be told what it is to serve by hand, and when.\n",
        "server.md": EN + "The server is cold and the server is old, and by the hand.\n",
        "serve.md": EN + "They serve dinner here and they serve it cold, and by hand.\n",
    }
    library = stored(tmp_path, settings, conninfo, pages)
    assert search_paths(library, "Server serve")[0] == search_paths(library, "server serve")[0] == "both.md"


def test_a_beginning_is_no_rarer_than_its_word_in_another_form(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    pages = {f"haus/{n}.md": DE + f"Da steht ein Haus am Ufer, rot und alt, Nummer {n}.\n" for n in range(20)}
    pages |= {f"see/{n}.md": DE + f"Da liegt ein See am Ufer, rot und alt, Nummer {n}.\n" for n in range(20)}
    pages["haeuser.md"] = DE + "Da stehen zwei Häuser am Ufer, rot und alt, und mehr.\n"
    pages["umbau.md"] = DE + "Da steht ein Umbau an, und ein Haus am Ufer, rot und alt.\n"
    library = stored(tmp_path, settings, conninfo, pages)
    assert search_paths(library, "Umbau: Haus, Häuser")[0] == "umbau.md"


def test_an_upgrade_has_words_counted_though_no_document_changed(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    """As the migration leaves them."""
    library = stored(tmp_path, settings, conninfo, {"a.md": GERMAN, "b.md": ENGLISH})
    with connect(conninfo) as connection:
        connection.execute("delete from common_words")
        connection.execute("update corpus set measured_at = '-infinity'")
    assert library.sync().documents.unchanged == 2
    assert library.rows("select measured_at > '-infinity' from corpus") == [(True,)]
    assert library.rows("select count(*) > 0 from common_words") == [(True,)]


def test_documents_of_a_version_that_knew_no_polish_are_read_anew(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    library = stored(tmp_path, settings, conninfo, {"a.md": POLISH})
    with connect(conninfo) as connection:
        connection.execute("update documents set language = 'simple'")
        connection.execute("update chunks set language = 'simple'")
        connection.execute(
            "update ledger set processing_fingerprint = replace(processing_fingerprint, %s, 'language-1')",
            [FINGERPRINT],
        )
    assert search_paths(library, "drukarki") == []
    report = library.sync()
    assert (report.chunks.embedded, report.documents.changed) == (0, 1)
    assert search_paths(library, "drukarki") == ["a.md"]


def test_a_dump_restores_to_a_database_that_answers_the_same(synced: Library, postgres: str) -> None:
    with connect(synced.conninfo) as connection:
        (tools,) = connection.execute("select setting from pg_config where name = 'BINDIR'").fetchone() or ()
    with empty_database(postgres, "test_restored") as conninfo:
        dump = subprocess.run(
            [f"{tools}/pg_dump", "-Fc", synced.conninfo], check=True, capture_output=True
        ).stdout
        subprocess.run([f"{tools}/pg_restore", "--exit-on-error", "-d", conninfo], input=dump, check=True)
        restored = Library(synced.root, conninfo, synced.settings)
        assert run_verify(conninfo).complete
        for question in ("Haus auf Hügeln", "brak odpowiedzi", "任务失败了怎么重试", "what is ERR-1042"):
            assert search_paths(restored, question, "hybrid") == search_paths(synced, question, "hybrid")
        assert restored.sync().documents.unchanged == len(PAGES)


def test_words_are_counted_by_the_sync_and_after_removals(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    pages = {f"{n}.md": f"The zebra number {n} has stripes.\n" for n in range(40)}
    library = stored(tmp_path, settings, conninfo, {**pages, "oak.md": "The oak is a tree.\n"})
    assert library.rows("select chunks from corpus") == [(41,)]
    assert dict(library.rows("select lexeme, round(share::numeric, 2) from common_words"))["zebra"] > 0.9
    for n in range(2, 40):
        (tmp_path / f"{n}.md").unlink()
    library.sync(approve_deletes=38)
    assert library.rows("select chunks from corpus") == [(3,)]


def test_outdated_counts_lose_nothing(tmp_path: Path, settings: Settings, conninfo: str) -> None:
    library = stored(
        tmp_path, settings, conninfo, {"a.md": ENGLISH, "b.md": GERMAN, "c.md": "Oak and task.\n"}
    )
    fresh = search_paths(library, "retry task Aufgabe")
    for statement in (
        "delete from corpus",
        "delete from common_words",
        "delete from languages",
        "insert into corpus values (1, 1)",
        "insert into common_words values ('task', 1), ('aufgab', 0.000001), ('nowhere', 0.5)",
    ):
        with connect(conninfo) as connection:
            connection.execute(statement)
        assert set(search_paths(library, "retry task Aufgabe nowhere")) == set(fresh)
    with connect(conninfo) as connection:
        word_statistics.count(connection)
    assert search_paths(library, "retry task Aufgabe") == fresh


PLAIN = "rivers bridges lamps stones windows roads clouds gardens".split()  # noqa: SIM905


def test_a_stop_word_of_one_language_is_not_rare_in_the_documents_of_another(
    tmp_path: Path, settings: Settings, conninfo: str
) -> None:
    quoting = GERMAN + "Er sagte: the the the.\n"
    pages = {f"en/{n}.md": f"Number {n} of the {word}. {ENGLISH}" for n, word in enumerate(PLAIN)}
    library = stored(tmp_path, settings, conninfo, {**pages, "de/a.md": quoting, "de/b.md": GERMAN})
    assert "de/a.md" not in search_paths(library, "the number of the retries")[:8]


def test_a_beginning_is_no_rarer_than_its_word(tmp_path: Path, settings: Settings, conninfo: str) -> None:
    """It is looked for in some languages only: in their few documents it is not rare because of that."""
    pages = {f"en/{n}.md": f"The administration of the {word}. {ENGLISH}" for n, word in enumerate(PLAIN)}
    pages["en/best.md"] = f"Administration is administration. {ENGLISH}"
    library = stored(tmp_path, settings, conninfo, {**pages, "de.md": "Die Administratoren. " + GERMAN})
    assert search_paths(library, "administration")[0] == "en/best.md"


@pytest.mark.parametrize(
    ("question", "path", "quoted"),
    [
        ("Wie wird eine fehlgeschlagene Aufgabe wiederholt?", "de/aufgaben.md", "Anzahl der Versuche"),
        ("How is a failed task retried?", "en/tasks.md", "number of retries"),
        ("如何重试失败的任务", "zh/tasks.md", "任务可以重试"),
    ],
)
def test_answers_are_quoted_in_the_documents_own_language(
    tmp_path: Path, settings: Settings, conninfo: str, question: str, path: str, quoted: str
) -> None:
    pages = {
        "de/aufgaben.md": "Eine fehlgeschlagene Aufgabe wird wiederholt, wenn Sie die Anzahl der Versuche setzen. "
        "Die Häuser stehen auf dem Hügel.\n",
        "en/tasks.md": "A failed task is retried when you set the number of retries. The houses stand on a hill.\n",
        "zh/tasks.md": "失败的任务可以重试。请在装饰器中设置重试次数。房子在山上。天气很好。\n",
    }
    library = stored(tmp_path, settings, conninfo, pages)

    async def ask() -> Answer:
        async with open_services(library.settings, conninfo) as services:
            return await services.answerer.answer(await services.answerer.retrieve(Query(question), None))

    answer = asyncio.run(ask())
    assert (answer.answered, answer.citations[0].path, quoted in answer.text) == (True, path, True)
    assert all(citation.verified for citation in answer.citations)
