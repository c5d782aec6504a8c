"""A stream of /v1/chat/completions, read by hand: every chunk has the fields of OpenAI's, and no other."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.query_api.answering.records import Answer, AnswerSource, Citation
from pgfolio.query_api.service.openai.attribute_filter import metadata_filter
from pgfolio.query_api.service.openai.chat_encoding import CompletionEncoder
from pgfolio.query_api.service.openai.contracts import ChatMessage, ContentPart
from pgfolio.query_api.service.openai.conversation import conversation
from pgfolio.query_api.service.openai.source_links import links, without_links
from tests.fakes.openai_server import KEY, FaultScenario
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

ASKED = {"model": "pgfolio", "messages": [{"role": "user", "content": "how do I retry a failed task"}]}
CHUNK = {"id", "object", "created", "model", "choices"}
CHOICE = {"index", "delta", "finish_reason", "logprobs"}


def streamed(client: httpx.Client, **fields: Any) -> list[str]:
    """The data of each event, after a look at the lines."""
    answer = client.post("/v1/chat/completions", json={**ASKED, "stream": True, **fields})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event for event in answer.text.replace("\r\n", "\n").split("\n\n") if event]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]


@pytest.mark.parametrize("fixture", ["api", "chat_api"])
@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_is_exact_to_the_chunk(request: pytest.FixtureRequest, fixture: str, usage: bool) -> None:
    client = request.getfixturevalue(fixture)
    options = {"stream_options": {"include_usage": True}} if usage else {}
    began = int(time.time())
    *data, last = streamed(client, **options)
    chunks = [json.loads(each) for each in data]
    assert last == "[DONE]"
    fields = CHUNK | {"usage"} if usage else CHUNK
    assert all(chunk.keys() == fields for chunk in chunks)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"pgfolio"}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert began <= chunks[0]["created"] <= time.time()
    if usage:
        assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        final = chunks.pop()
        assert final["choices"] == []
        assert final["usage"].keys() == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert all(len(chunk["choices"]) == 1 and chunk["choices"][0].keys() == CHOICE for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert {(choice["index"], choice["logprobs"]) for choice in choices} == {(0, None)}
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["delta"].keys() for choice in choices[1:-2]] == [{"content"}] * (len(choices) - 3)
    assert choices[-2]["delta"].keys() == {"content", "annotations"}
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    for annotation in choices[-2]["delta"]["annotations"]:
        assert annotation.keys() == {"type", "url_citation"}
        cited = annotation["url_citation"]
        assert cited.keys() == {"url", "title", "start_index", "end_index"}
        assert cited["url"] in text[cited["start_index"] : cited["end_index"]]


def test_a_missing_stream_is_false(api: httpx.Client) -> None:
    for fields in ({}, {"stream": None}, {"stream": False}):
        answer = api.post("/v1/chat/completions", json={**ASKED, **fields}).json()
        assert answer.keys() == {"id", "object", "created", "model", "choices", "usage"}
        assert answer["choices"][0].keys() == {"index", "message", "finish_reason", "logprobs"}
        assert answer["choices"][0]["message"].keys() == {"role", "content", "refusal", "annotations"}


def test_an_error_in_the_middle_has_openais_shape_and_is_the_last(
    chat_api: httpx.Client, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(cut=True, only="chat")
    *_, last = streamed(chat_api)
    error = json.loads(last)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("server_error", "model_unavailable")


def test_what_chat_programs_send_beside_is_left_unread(api: httpx.Client) -> None:
    fields = {
        "temperature": 0.2, "top_p": 1, "max_tokens": 5, "max_completion_tokens": None, "stop": ["x"], "user": "u",
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "seed": 1, "n": 1,
        "response_format": {"type": "text"}, "metadata": {}, "chat_id": "x", "features": {"web_search": False},
    }  # fmt: skip
    plain = api.post("/v1/chat/completions", json=ASKED).json()
    answer = api.post("/v1/chat/completions", json={**ASKED, **fields})
    assert answer.status_code == 200
    assert answer.json()["choices"] == plain["choices"]


@pytest.mark.parametrize("path", ["/v1", "/v1/nowhere", "/v1/chat/completions"])
def test_errors_of_no_route_have_openais_shape_too(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code in {404, 405}
    assert answer.json()["error"]["type"] == "invalid_request_error"


def said(*pairs: tuple[str, Any]) -> list[ChatMessage]:
    return [ChatMessage(role, content) for role, content in pairs]  # type: ignore[arg-type]


def test_the_last_message_of_the_user_is_the_question() -> None:
    parts = [ContentPart("text", "and"), ContentPart("image_url"), ContentPart("text", "then?")]
    read = conversation(
        said(
            ("developer", "Be kind."), ("user", "a"), ("assistant", None), ("tool", "{}"), ("user", parts),
            ("assistant", "It"),
        )
    )  # fmt: skip
    assert (read.text, read.instructions, read.is_task) == ("and\nthen?", "Be kind.", False)
    assert [(m.role, m.content) for m in read.earlier] == [("user", "a"), ("assistant", "")]
    assert conversation(said(("user", " ### Task:\nx"))).is_task
    assert not conversation(said(("user", "### Task:\nx"), ("user", "What is a ### Task: ?"))).is_task


def cited(path: str, quote: str, start: int, page: int | None = None) -> Citation:
    return Citation(1, 1, 7, path, path, quote, start, start + 9, verified=True, page=page)


def test_nothing_of_a_document_becomes_markdown() -> None:
    quote = "x](javascript:alert(1)) ![i](http://evil.example/?q=`a`) <b>|\n\n# big *one*"
    text, annotations = links(
        Answer("A", answered=True, mode="generated", citations=[cited("a [b].md", quote, 3, page=2)]), "", 1
    )
    assert text.count("](") - text.count("\\](") == 1
    assert "\\!\\[i\\]" in text
    assert "\n" not in text.strip().removeprefix("Sources:\n")
    assert annotations[0].url_citation.title.startswith("a [b].md, p. 2: x](javascript")


@pytest.mark.parametrize("quote", ["", "a plain one", "with [brackets] and \\ and `code`", "é" * 300])
def test_links_are_taken_off_an_answer_that_comes_back(quote: str) -> None:
    citations = [cited("a_(b).md", quote, start) for start in (1, 1, 50)]
    answer = Answer("It is.\n\n- one\n- two", answered=True, mode="generated", citations=citations)
    beneath, annotations = links(answer, "http://docs.example", 5)
    assert len(annotations) == 2
    assert without_links(answer.text + beneath) == answer.text
    assert without_links(answer.text + beneath + "\n") == answer.text
    assert without_links("Sources:\nare good") == "Sources:\nare good"


def test_an_answer_about_documents_links_to_them_and_none_to_nothing() -> None:
    sources = [AnswerSource(3, "T", "a.md", 0.5)]
    about = Answer("There is one.", answered=True, mode="extractive", sources=sources)
    assert links(about, "", 0)[0] == "\n\nSources:\n- [a.md](/d/3)"
    unanswered = Answer("No.", answered=False, mode="extractive", sources=sources)
    assert links(unanswered, "", 0) == ("", [])


def test_filters_are_ours_in_other_words() -> None:
    asked = {"type": "or", "filters": [
        {"type": "in", "key": "category", "value": ["a", "b"]},
        {"type": "and", "filters": [{"type": "gte", "key": "created_at", "value": "2026-01-01"}]},
    ]}  # fmt: skip
    assert metadata_filter(asked) == {
        "$or": [{"category": {"$in": ["a", "b"]}}, {"$and": [{"created_at": {"$gte": "2026-01-01"}}]}]
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", {**ASKED, "model": "pgfolio/a\x00b"}),
        ("POST", "/v1/chat/completions", {**ASKED, "messages": [{"role": "user", "content": "a\x00b"}]}),
        ("POST", "/v1/embeddings", {"model": "pgfolio/\x00", "input": "x"}),
        ("POST", "/v1/embeddings", {"model": "pgfolio", "input": "\x00"}),
        ("POST", "/v1/vector_stores/a%00b/search", {"query": "x"}),
        ("POST", "/v1/vector_stores/manual/search", {"query": "a\x00b"}),
        ("POST", "/v1/vector_stores/manual/search",
         {"query": "x", "filters": {"type": "eq", "key": "a\x00", "value": "\x00"}}),
        ("GET", "/v1/models/pgfolio/a%00b", None),
        ("GET", "/v1/models//", None),
        ("GET", "/v1/models/..%2f..", None),
    ],
)  # fmt: skip
def test_no_odd_character_is_a_fault_of_the_server(
    api: httpx.Client, method: str, path: str, body: Any
) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code in {200, 400, 404}, answer.text
    assert answer.status_code == 200 or answer.json()["error"]["type"] == "invalid_request_error"


def test_filters_that_are_nested_too_deeply_are_a_wrong_request(api: httpx.Client) -> None:
    filters: dict[str, Any] = {"type": "eq", "key": "category", "value": "guide"}
    for _ in range(400):
        filters = {"type": "and", "filters": [filters]}
    answer = api.post("/v1/vector_stores/manual/search", json={"query": "x", "filters": filters})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.long
def test_a_stream_is_not_silent_while_the_model_thinks(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=11, only="chat")
    settings = new_settings(
        database_url=library, openai_api_key=KEY, openai_base_url=openai_server.url,
        chat={"model": "gpt-4o-mini"},
    )  # fmt: skip
    with running_api(settings, library) as client:
        lines = client.post("/v1/chat/completions", json={**ASKED, "stream": True}).text.splitlines()
    assert lines.count(": at work") == 1
    assert [line for line in lines if line][-1] == "data: [DONE]"


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        ("stop", "stop"), ("length", "length"), ("max_tokens", "length"), ("content_filter", "content_filter"),
        ("tool_calls", "stop"), ("eos", "stop"), (None, "stop"),
    ],
)  # fmt: skip
def test_an_answer_ends_for_one_of_openais_reasons(ended: str | None, reason: str) -> None:
    answer = Answer("It is.", answered=True, mode="generated", finish_reason=ended)
    completion = CompletionEncoder(id="x", model="pgfolio", base="").complete(answer)
    assert completion.choices[0].finish_reason == reason
    assert completion.usage is None
