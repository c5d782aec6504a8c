"""Words that stand in most chunks: they are left out where rarer ones find enough, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.schema.corpus import sources, statistics
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.query_api.library import Page, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

COMMON, LESS_COMMON = "harbour", "lantern"
HERE = tuple(
    Page(f"here/{n}.md", None, {"Quay": f"The {COMMON} number {n} is quiet."}, collection="here")
    for n in range(4)
)
ROOT = (Page("root.md", None, {"Root": "One page that sets the library up."}, collection="there"),)
MANY = 6000


@pytest.fixture(scope="module")
def scoped(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[tuple[httpx.Client, list[str]]]:
    """A small collection beside a large one, in which two words of a question are common."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo)
        stock(conninfo, settings, HERE + ROOT)
        with connect(conninfo) as connection:
            generation = generations.active_generation(connection)
            assert generation is not None
            source = next(s for s in sources.list_sources(connection) if s.name == "there")
            connection.execute(
                """
                with made as (
                    insert into documents
                        (source_id, collection_id, path, mime, content_hash, text, language, updated_at)
                    select d.source_id, d.collection_id, 'many/' || n || '.md', d.mime, d.content_hash,
                           concat('The ', %(common)s::text, case when n %% 2 = 0 then ' ' || %(less)s end),
                           d.language, d.updated_at
                    from documents d, generate_series(1, %(many)s) n
                    where d.source_id = %(source)s
                    returning id, collection_id, text, language
                )
                insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens,
                                    hash, language)
                select id, collection_id, 0, text, '', 0, length(text), 6, sha256(text::bytea), language from made
                """,
                {"common": COMMON, "less": LESS_COMMON, "many": MANY, "source": source.id},
            )
            connection.execute(
                """
                with made as (
                    insert into documents
                        (source_id, collection_id, path, mime, content_hash, text, language, updated_at)
                    select source_id, collection_id, 'new/' || n || '.md', mime, content_hash,
                           case n when 200 then repeat(%(common)s || ' ', 9) else 'Jest ' || %(common)s end,
                           case n when 200 then language else 'polish' end, updated_at
                    from documents d, generate_series(1, 200) n
                    where path = 'many/1.md'
                    returning id, collection_id, text, language
                )
                insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens,
                                    hash, language)
                select id, collection_id, 0, text, '', 0, length(text), 6, sha256(text::bytea), language from made
                """,
                {"common": COMMON},
            )
            connection.execute(
                "update ledger set chunk_count = chunk_count + %s where source_id = %s", (MANY, source.id)
            )
            statistics.analyze(connection, generation)
            connection.commit()
        keys = [make_key(conninfo), make_key(conninfo, collections=["here"])]
        with running_api(settings, conninfo) as client:
            yield client, keys


@pytest.mark.parametrize("filtered_by", ["the question", "the key"])
def test_a_common_word_finds_all_of_a_small_collection(
    scoped: tuple[httpx.Client, list[str]], filtered_by: str
) -> None:
    client, (full_key, limited) = scoped
    body: dict[str, Any] = {"query": f"{LESS_COMMON} {COMMON}", "mode": "lexical", "limit": 10}
    if filtered_by == "the question":
        body["collections"] = ["here"]
    key = full_key if filtered_by == "the question" else limited
    answer = client.post("/search", json=body, headers={"Authorization": f"Bearer {key}"}).json()
    assert {result["path"] for result in answer["results"]} == {page.path for page in HERE}


def test_the_best_chunk_for_a_common_word_is_a_result_wherever_it_stands(
    scoped: tuple[httpx.Client, list[str]],
) -> None:
    """Stored last, and beside a language in which the word's stem is another, rare one."""
    client, (full_key, _) = scoped
    body: dict[str, Any] = {"query": COMMON, "mode": "lexical", "limit": 10}
    answer = client.post("/search", json=body, headers={"Authorization": f"Bearer {full_key}"}).json()
    assert answer["results"][0]["path"] == "new/200.md"
