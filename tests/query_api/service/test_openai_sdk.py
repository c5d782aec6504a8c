"""OpenAI's own SDK gets along with /v1: each route, whole and streamed, and each error as its own type."""

from __future__ import annotations

import asyncio
import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest

from tests.fakes.openai_server import FaultScenario
from tests.query_api.library import make_key, running_api, stock, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

RETRY = "how do I retry a failed task"
ASKED: Any = [{"role": "user", "content": RETRY}]


def sdk(client: httpx.Client, key: str = "unused", **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0, **options)


def test_models_are_collections(api: httpx.Client) -> None:
    models = sdk(api).models
    assert [model.id for model in models.list()] == ["pgfolio", "pgfolio/kitchen", "pgfolio/manual"]
    kitchen = models.retrieve("pgfolio/kitchen")
    assert (kitchen.id, kitchen.object, kitchen.owned_by) == ("pgfolio/kitchen", "model", "pgfolio")
    assert kitchen.created > 1_700_000_000
    with pytest.raises(openai.NotFoundError) as error:
        models.retrieve("pgfolio/atlantis")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_an_answer_has_its_sources_as_annotations_of_links_in_its_text(api: httpx.Client) -> None:
    completion = sdk(api).chat.completions.create(model="pgfolio", messages=ASKED, temperature=0.7, user="me")
    (choice,) = completion.choices
    content, annotations = choice.message.content or "", choice.message.annotations or []
    assert completion.id.startswith("chatcmpl-")
    assert (completion.object, completion.model) == ("chat.completion", "pgfolio")
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert "retries" in content
    assert annotations
    for annotation in annotations:
        cited = annotation.url_citation
        assert content[cited.start_index : cited.end_index].endswith(f"]({cited.url})")
        assert cited.url.startswith(f"{api.base_url}/d/")
        assert cited.title.startswith("guides/retries.md: ")
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


def test_a_link_leads_to_the_quoted_place(api: httpx.Client) -> None:
    answer = api.post("/ask", json={"question": RETRY}).json()
    completion = sdk(api).chat.completions.create(model="pgfolio", messages=ASKED)
    expected = [
        f"{api.base_url}/d/{c['document_id']}?start={c['start']}&end={c['end']}" for c in answer["citations"]
    ]
    assert [a.url_citation.url for a in completion.choices[0].message.annotations or []] == expected


def test_a_stream_is_the_same_answer(api: httpx.Client) -> None:
    client = sdk(api)
    whole = client.chat.completions.create(model="pgfolio/manual", messages=ASKED).choices[0].message
    with client.chat.completions.stream(model="pgfolio/manual", messages=ASKED) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.content == whole.content
    assert streamed.annotations == whole.annotations


def test_the_asynchronous_client_streams_and_embeds(api: httpx.Client) -> None:
    async def ask() -> tuple[str, int, int]:
        async with openai.AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key="x", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="pgfolio", messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
            text, usages = "", 0
            async for chunk in stream:
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                usages += chunk.usage is not None
            vectors = await client.embeddings.create(model="pgfolio", input="a task")
            whole = await client.chat.completions.create(model="pgfolio", messages=ASKED)
            assert whole.choices[0].message.content == text
            models = [model.id async for model in client.models.list()]
            stores = [store.id async for store in client.vector_stores.list()]
            results = [r async for r in client.vector_stores.search("manual", query=RETRY)]
            assert models[1:] == [f"pgfolio/{store}" for store in stores]
            assert results[0].filename == "guides/retries.md"
            return text, usages, len(vectors.data[0].embedding)

    text, usages, dimensions = asyncio.run(ask())
    assert "retries" in text
    assert (usages, dimensions) == (1, 256)


def test_embeddings_are_those_of_the_active_space(api: httpx.Client) -> None:
    client = sdk(api)
    texts = ["a task", "bread"]
    floats = client.embeddings.create(model="pgfolio", input=texts, encoding_format="float")
    packed = client.embeddings.create(model="wordllama-256", input=texts)  # base64, which the SDK unpacks
    raw = api.post("/v1/embeddings", json={"model": "x", "input": "a"}).json()
    assert [item.index for item in floats.data] == [0, 1]
    np.testing.assert_array_equal(
        np.array([item.embedding for item in floats.data], dtype=np.float32),
        np.array([item.embedding for item in packed.data], dtype=np.float32),
    )
    assert floats.usage.total_tokens == floats.usage.prompt_tokens > 0
    assert floats.model == "local/wordllama-256/256"
    assert client.embeddings.create(model="pgfolio", input="x", dimensions=256).data
    assert raw["error"]["code"] == "model_not_found"
    body = {"model": "pgfolio", "input": "a task", "encoding_format": "base64"}
    encoded = api.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(encoded), dtype="<f4").shape == (256,)


def test_a_vector_store_is_a_collection(api: httpx.Client) -> None:
    stores = {store.id: store for store in sdk(api).vector_stores.list()}
    assert list(stores) == ["kitchen", "manual"]
    assert (stores["manual"].file_counts.completed, stores["manual"].status) == (3, "completed")


def test_a_vector_store_is_searched_as_search_does(api: httpx.Client) -> None:
    expected = api.post(
        "/search", json={"query": RETRY, "collections": ["manual"], "filter": {"category": "guide"}}
    )
    page = sdk(api).vector_stores.search(
        "manual",
        query=RETRY,
        filters={
            "type": "and",
            "filters": [
                {"type": "eq", "key": "category", "value": "guide"},
                {"type": "ne", "key": "path", "value": "notes/caching.md"},
            ],
        },
        max_num_results=5,
    )
    results = expected.json()["results"]
    assert [item.content[0].text for item in page] == [result["content"] for result in results]
    assert [item.score for item in page] == sorted((item.score for item in page), reverse=True)
    (first, *_) = page.data
    assert (first.file_id, first.filename) == (str(results[0]["document_id"]), "guides/retries.md")
    assert first.attributes is not None
    assert first.attributes["category"] == "guide"
    assert str(first.attributes["url"]).startswith(f"{api.base_url}/d/{first.file_id}?start=")


def test_several_queries_and_a_threshold(api: httpx.Client) -> None:
    stores = sdk(api).vector_stores
    page = stores.search("manual", query=["retry a task", "delete a work pool"], max_num_results=2)
    assert {item.filename for item in page} == {"guides/retries.md", "guides/pools.md"}
    best = page.data[0].score
    above = stores.search("manual", query="retry a task", ranking_options={"score_threshold": 1.0})
    assert 0 < best <= 1
    assert all(item.score == 1 for item in above)


def wrong_requests(client: openai.OpenAI) -> list[tuple[str, Callable[[], Any]]]:
    """Each with the field that is wrong in it."""
    chat: Any = client.chat.completions.create
    embed: Any = client.embeddings.create
    search: Any = client.vector_stores.search
    return [
        ("messages", lambda: chat(model="pgfolio", messages=[])),
        ("messages[0].role", lambda: chat(model="pgfolio", messages=[{"role": "king", "content": "x"}])),
        ("messages", lambda: chat(model="pgfolio", messages=[{"role": "assistant", "content": "x"}])),
        ("messages[0].content", lambda: chat(model="pgfolio", messages=[{"role": "user", "content": " "}])),
        (
            "messages[1].content",
            lambda: chat(model="pgfolio", messages=[*ASKED, {"role": "user", "content": "x" * 4001}]),
        ),
        ("stream", lambda: chat(model="pgfolio", messages=ASKED, stream="yes")),
        ("input", lambda: embed(model="pgfolio", input="")),
        ("input[0]", lambda: embed(model="pgfolio", input=[1, 2])),
        ("dimensions", lambda: embed(model="pgfolio", input="x", dimensions=64)),
        ("max_num_results", lambda: search("manual", query="x", max_num_results=51)),
        ("query", lambda: search("manual", query="")),
    ]


def test_what_is_wrong_is_a_bad_request_that_names_it(api: httpx.Client) -> None:
    for parameter, send in wrong_requests(sdk(api)):
        with pytest.raises(openai.BadRequestError) as error:
            send()
        assert (error.value.type, error.value.param) == ("invalid_request_error", parameter)
    for filters in (
        {"type": "near", "key": "a", "value": 1}, {"type": "eq", "key": "a"}, {"type": "or", "filters": []},
        {"type": "eq", "key": "$or", "value": []}, {"type": "gt", "key": "created_at", "value": "soon"},
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError):
            sdk(api).vector_stores.search("manual", query="x", filters=filters)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["gpt-4o", "pgfolio/atlantis", "pgfolio/", "PGFOLIO", "pgfolio/manual/x"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(api: httpx.Client, model: str, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        sdk(api).chat.completions.create(model=model, messages=ASKED, stream=stream)
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        sdk(api).embeddings.create(model=model, input="x")


def test_what_is_not_there_is_not_found(api: httpx.Client) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk(api).vector_stores.search("atlantis", query="x")
    with pytest.raises(openai.NotFoundError):
        sdk(api).files.list()


def test_a_page_of_another_origin_is_denied(api: httpx.Client) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        sdk(api, default_headers={"Host": "evil.example"}).models.list()
    assert "PGFOLIO_API__ALLOWED_HOSTS" in error.value.message


@contextmanager
def limited(
    conninfo: str, new_settings: Callable[..., Settings], **api: Any
) -> Iterator[tuple[httpx.Client, str]]:
    settings = new_settings(database_url=conninfo, api=api)
    stock(conninfo, settings)
    key = make_key(conninfo, "read", ["manual"])
    with running_api(settings, conninfo) as client:
        yield client, key


def test_a_key_that_is_limited_to_a_collection_sees_no_other(
    conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    with limited(conninfo, new_settings) as (client, key):
        for wrong in ("nothing", "pgf_" + "A" * 43):
            with pytest.raises(openai.AuthenticationError) as denied:
                sdk(client, wrong).models.list()
            assert denied.value.code == "invalid_api_key"
        own = sdk(client, key)
        assert [model.id for model in own.models.list()] == ["pgfolio", "pgfolio/manual"]
        assert [store.id for store in own.vector_stores.list()] == ["manual"]
        bread: Any = [{"role": "user", "content": "how long is sourdough bread baked"}]
        answer = own.chat.completions.create(model="pgfolio", messages=bread).choices[0].message
        assert "forty minutes" not in (answer.content or "")
        for ask in (
            lambda: own.models.retrieve("pgfolio/kitchen"),
            lambda: own.chat.completions.create(model="pgfolio/kitchen", messages=bread),
            lambda: own.vector_stores.search("kitchen", query="bread"),
            lambda: own.embeddings.create(model="pgfolio/kitchen", input="x"),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()


def test_too_many_requests_and_a_lost_database(
    conninfo: str, new_settings: Callable[..., Settings], postgres: str
) -> None:
    with limited(conninfo, new_settings, requests_per_minute=2) as (client, key):
        with unreachable(conninfo, postgres), pytest.raises(openai.InternalServerError) as lost:
            sdk(client, key).models.list()
        assert lost.value.type == "server_error"
        sdk(client, key).models.list()
        with pytest.raises(openai.RateLimitError) as error:
            sdk(client, key).models.list()
        assert error.value.code == "rate_limit_exceeded"
        assert int(error.value.response.headers["Retry-After"]) >= 1


def test_links_begin_with_the_public_url(library: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=library, api={"public_url": "https://docs.example.com/"})
    with running_api(settings, library) as client:
        answer = sdk(client).chat.completions.create(model="pgfolio", messages=ASKED)
    urls = [a.url_citation.url for a in answer.choices[0].message.annotations or []]
    assert all(url.startswith("https://docs.example.com/d/") for url in urls)
    assert urls


def test_a_model_writes_the_answer_and_what_it_took(
    chat_api: httpx.Client, openai_server: FakeOpenAI
) -> None:
    completion = sdk(chat_api).chat.completions.create(model="pgfolio", messages=ASKED)
    usage = completion.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert completion.choices[0].message.annotations


def test_what_a_chat_program_wants_for_itself_is_written_without_documents(
    chat_api: httpx.Client, openai_server: FakeOpenAI
) -> None:
    openai_server.says = '{"title": "Retries"}'
    task: Any = [{"role": "user", "content": "### Task:\nGenerate a title.\n" + "x" * 5000}]
    client = sdk(chat_api)
    for answer in (
        client.chat.completions.create(model="pgfolio", messages=task).choices[0].message.content,
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(model="pgfolio", messages=task, stream=True)
        ),
    ):
        assert answer == '{"title": "Retries"}'
    (request, *_) = [each for each in openai_server.requests if "chat" in each.path]
    assert request.body["messages"][-1]["content"] == task[0]["content"]


def test_without_a_chat_model_that_is_refused_politely(api: httpx.Client) -> None:
    task: Any = [{"role": "user", "content": "### Task:\nSuggest follow-up questions"}]
    message = sdk(api).chat.completions.create(model="pgfolio", messages=task).choices[0].message
    assert "no chat model" in (message.content or "")
    assert not message.annotations


def test_what_fails_in_the_middle_of_a_stream_is_raised(
    chat_api: httpx.Client, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(cut=True, only="chat")
    stream = sdk(chat_api).chat.completions.create(model="pgfolio", messages=ASKED, stream=True)
    with pytest.raises(openai.APIError, match="model"):
        list(stream)


def test_a_conversation_is_understood(api: httpx.Client) -> None:
    client = sdk(api)
    first = client.chat.completions.create(model="pgfolio", messages=ASKED).choices[0].message.content
    said: Any = [
        {"role": "system", "content": "Be kind."},
        *ASKED,
        {"role": "assistant", "content": first},
        {"role": "user", "content": [{"type": "text", "text": "and how long does it wait?"}]},
    ]
    completion = client.chat.completions.create(model="pgfolio", messages=said)
    same = api.post("/ask", json={"messages": [
        {"role": "user", "content": RETRY},
        {"role": "assistant", "content": (first or "").partition("\n\nSources:")[0]},
        {"role": "user", "content": "and how long does it wait?"},
    ]})  # fmt: skip
    assert same.json()["question"] != "and how long does it wait?"
    assert (completion.choices[0].message.content or "").startswith(same.json()["answer"])
