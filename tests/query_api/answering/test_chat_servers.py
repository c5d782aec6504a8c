"""POST /ask against chat servers as they are, whole and streamed: an answer, or an error that says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.fakes.openai_server import KEY, FakeOpenAI, Recorded, Reply, Style
from tests.fakes.server_styles import (
    KINDS,
    Kind,
    answering,
    both,
    changed,
    error,
    html_page,
    refusing,
    saying,
)
from tests.query_api.answering.test_ask import QUESTION, check_quotes, events
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from pgfolio.config.settings import Settings

SENTENCE = "A failed task is run again as often as its retries say [1]."
WORDS = "the moon is in the wrong house"


class Asked(NamedTuple):
    """What became of a question: the answer's object, or the problem's; in a stream the tokens together too."""

    status: int
    body: dict[str, Any]
    tokens: str = ""


def whole(client: httpx.Client) -> Asked:
    response = client.post("/ask", json={"question": QUESTION})
    return Asked(response.status_code, response.json())


def streamed(client: httpx.Client) -> Asked:
    got = events(client, QUESTION)
    name, body = got[-1]
    assert name in {"done", "error"}
    tokens = "".join(value["text"] for event, value in got if event == "token")
    return Asked(200 if name == "done" else body["status"], body, tokens)


WAYS = pytest.mark.parametrize("ask", [whole, streamed], ids=["whole", "streamed"])
Ask = Callable[["httpx.Client"], Asked]


@pytest.fixture
def asking(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> Iterator[Callable[..., httpx.Client]]:
    """Starts an API whose chat model answers in a style."""
    opened: list[Any] = []

    def start(style: Style | None = None, url: str = "", **chat: Any) -> httpx.Client:
        if style:
            openai_server.style = style
        openai_server.says = SENTENCE
        settings = new_settings(
            openai_api_key=KEY,
            openai_base_url=url or openai_server.url,
            chat={"model": "gpt-4o-mini", "timeout": 5, **chat},
        )
        api = running_api(settings, library)
        opened.append(api)
        client: httpx.Client = api.__enter__()
        return client

    yield start
    for api in opened:
        api.__exit__(None, None, None)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        fake.says = SENTENCE
        yield fake


@pytest.fixture(scope="module")
def shared_api(
    library: str, new_settings: Callable[..., Settings], shared_server: FakeOpenAI
) -> Iterator[httpx.Client]:
    settings = new_settings(
        openai_api_key=KEY, openai_base_url=shared_server.url, chat={"model": "gpt-4o-mini", "timeout": 5}
    )
    with running_api(settings, library) as client:
        yield client


@pytest.fixture
def played(shared_api: httpx.Client, shared_server: FakeOpenAI) -> Callable[[Style], httpx.Client]:
    """One API for all styles of which nothing is to be learned."""

    def play(style: Style) -> httpx.Client:
        shared_server.style = style
        return shared_api

    return play


def reasoning(request: Recorded, reply: Reply) -> Reply:
    """As OpenAI's reasoning models refuse what they do not know."""
    if "max_tokens" in request.body:
        said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
        return error(400, said, param="max_tokens", code="unsupported_parameter")
    if request.body.get("temperature", 1) != 1:
        said = "Unsupported value: 'temperature' does not support 0. Only the default (1) value is supported."
        return error(400, said, param="temperature", code="unsupported_value")
    return reply


@WAYS
def test_a_reasoning_model_is_asked_in_its_words_and_refuses_once(
    asking: Callable[..., httpx.Client], openai_server: FakeOpenAI, ask: Ask
) -> None:
    client = asking(reasoning)
    for _ in range(3):
        got = ask(client)
        assert (got.status, got.body["answer"], got.body["notes"]) == (200, SENTENCE, [])
        assert got.body["finish_reason"] == "stop"
    bodies = openai_server.chats()
    assert len(bodies) == 5
    assert "max_completion_tokens" in bodies[-1]
    assert {"max_tokens", "temperature"} & bodies[-1].keys() == set()


def test_a_setting_says_what_a_model_is_asked(
    asking: Callable[..., httpx.Client], openai_server: FakeOpenAI
) -> None:
    client = asking(reasoning, output_limit="max_completion_tokens", temperature="default")
    assert whole(client).body["answer"] == SENTENCE
    (body,) = openai_server.chats()
    assert body["max_completion_tokens"] == 800


def test_a_temperature_that_is_set_and_refused_is_told(asking: Callable[..., httpx.Client]) -> None:
    client = asking(reasoning, output_limit="max_completion_tokens", temperature=0.5)
    got = whole(client)
    assert (got.status, "'temperature' does not support" in got.body["detail"]) == (502, True)


REFUSED: dict[str, Style] = {
    "stream_options": refusing("stream_options", "Unrecognized request argument supplied: stream_options"),
    "a system message": lambda request, reply: (
        error(400, "System role not supported") if request.body["messages"][0]["role"] == "system" else reply
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@WAYS
def test_what_else_a_server_refuses_is_left_out(
    asking: Callable[..., httpx.Client], ask: Ask, name: str
) -> None:
    got = ask(asking(REFUSED[name]))
    assert (got.status, got.body["answer"]) == (200, SENTENCE)
    check_quotes(got.body)


def drop(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for name in names:
            body.pop(name, None)

    return change


def null_deltas(body: dict[str, Any]) -> None:
    for choice in body.get("choices", ()):
        if choice.get("delta") == {}:
            choice["delta"] = None


THOUGHT = "<think>\nThe user asks of retries. Document [2] says so.\n</think>\n\n"
READABLE: dict[str, Style] = {
    "no model": changed(drop("model")),
    "model null": changed(lambda body: body.update(model=None)),
    "model a number": changed(lambda body: body.update(model=7)),
    "usage missing": changed(drop("usage")),
    "usage null": changed(lambda body: body.update(usage=None)),
    "usage of nulls": changed(
        lambda body: body.update(usage={"prompt_tokens": None, "completion_tokens": None})
    ),
    "usage of text": changed(lambda body: body.update(usage="12")),
    "null deltas": changed(null_deltas),
    "content in parts": saying(
        [{"type": "text", "text": SENTENCE[:9]}, {"type": "text", "text": SENTENCE[9:]}]
    ),
    "parts with thoughts": saying(
        [{"type": "thinking", "thinking": "no"}, {"type": "text", "text": SENTENCE}]
    ),
    "thoughts before": saying(THOUGHT + SENTENCE),
    "thoughts twice": saying(f"{THOUGHT}{SENTENCE}<think>[2] too?</think>"),
    "thoughts aside": saying(SENTENCE, reasoning_content="Document [2] says so."),
    "thoughts in <thinking>": saying(f"<Thinking>hm [2]</Thinking>{SENTENCE}"),
    "tool_calls of none": saying(SENTENCE, tool_calls=[]),
    "refusal null": saying(SENTENCE, refusal=None),
    "a stop of another name": saying(SENTENCE, "eos_token"),
    "extra fields": changed(lambda body: body.update(timings={"x": 1}, provider="y", error=None)),
}


@pytest.mark.parametrize("name", READABLE)
@WAYS
def test_an_answer_that_can_be_read_is(played: Callable[[Style], httpx.Client], ask: Ask, name: str) -> None:
    got = ask(played(READABLE[name]))
    assert got.status == 200, got
    assert (got.body["answer"], got.body["answered"]) == (SENTENCE, True)
    assert [citation["marker"] for citation in got.body["citations"]] == [1]
    assert isinstance(got.body["model"], str)
    check_quotes(got.body)
    if ask is streamed:
        assert got.tokens.strip() == SENTENCE


def test_a_thought_that_nothing_opens_is_left_out_and_from_then_on_held_back(
    asking: Callable[..., httpx.Client],
) -> None:
    """The prompt's template opened it."""
    client = asking(saying(f"Document [2] says so.\n</think>\n\n{SENTENCE}"))
    first, second = streamed(client), streamed(client)
    assert first.body["answer"] == second.body["answer"] == whole(client).body["answer"] == SENTENCE
    assert second.tokens.strip() == SENTENCE


@pytest.mark.parametrize(
    "text", ["Write `<think>` and `</think>` around it [1].", "The <think> tag opens a thought [1]."]
)
@WAYS
def test_a_tag_that_is_written_about_stays(
    played: Callable[[Style], httpx.Client], ask: Ask, text: str
) -> None:
    got = ask(played(saying(text)))
    assert got.body["answer"] == text
    if ask is streamed:
        assert got.tokens == text


EMPTY: dict[str, tuple[Style, str]] = {
    "length": (saying("", "length"), "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"),
    "null and length": (saying(None, "length"), "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"),
    "thoughts only": (saying("<think>it goes on and on", "length"), "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"),
    "thoughts aside only": (saying("", "length", reasoning_content="hm"), "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"),
    "thoughts without answer": (saying("<think>hm</think>"), "thought aloud"),
    "content filter": (saying("", "content_filter"), "content filter"),
    "refusal": (saying(None, "stop", refusal="I cannot help with that."), "I cannot help with that."),
    "tool calls": (saying(None, "tool_calls", tool_calls=[{"id": "1", "type": "function"}]), "tools"),
    "tool calls that stop": (saying(None, "stop", tool_calls=[{"id": "1"}]), "tools"),
}


@pytest.mark.parametrize("name", EMPTY)
@WAYS
def test_an_empty_answer_is_an_error_that_says_why(
    played: Callable[[Style], httpx.Client], ask: Ask, name: str
) -> None:
    style, words = EMPTY[name]
    got = ask(played(style))
    assert (got.status, got.body["type"]) == (502, "urn:pgfolio:problem:model-gave-no-answer")
    assert words in got.body["detail"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [("length", "PGFOLIO_CHAT__MAX_OUTPUT_TOKENS"), ("content_filter", "content filter")],
)
@WAYS
def test_an_answer_that_was_cut_says_so(
    played: Callable[[Style], httpx.Client], ask: Ask, reason: str, words: str
) -> None:
    got = ask(played(saying(SENTENCE, reason)))
    assert (got.body["answered"], got.body["finish_reason"]) == (True, reason)
    assert words in got.body["notes"][0]


FAILED: dict[str, tuple[Style, int, str]] = {
    "a login page": (html_page("Sign in"), 503, "Sign in"),
    "an empty body": (answering(b""), 503, "answered nothing"),
    "no object": (answering([]), 503, "no object"),
    "an error in a 200": (answering({"error": {"message": WORDS}}), 503, WORDS),
    "an error's text in a 200": (answering({"error": WORDS}), 503, WORDS),
    "an error with a code": (answering({"error": {"message": WORDS, "code": 429}}), 503, WORDS),
    "no choices": (answering({"object": "chat.completion"}), 502, "without a choice"),
    "choices null": (answering({"choices": None}), 502, "without a choice"),
    "a choice of null": (answering({"choices": [None]}), 502, "without a choice"),
    "unknown model": (answering({"error": {"message": WORDS}}, 404), 503, WORDS),
    "a full context": (
        answering({"object": "error", "message": f"{WORDS}: max_tokens too large"}, 400),
        502,
        WORDS,
    ),
    "a server's fault": (answering({"detail": WORDS}, 500), 503, WORDS),
    "a gateway's page": (html_page("504 Gateway Time-out", 504), 503, "504 Gateway Time-out"),
}


@pytest.mark.parametrize("name", FAILED)
@WAYS
def test_a_failure_is_told_in_the_servers_words(
    played: Callable[[Style], httpx.Client], ask: Ask, name: str
) -> None:
    style, status, words = FAILED[name]
    got = ask(played(style))
    assert (got.status, words in got.body["detail"]) == (status, True), got
    for python in ("NoneType", "has no attribute", "Error(", KEY):
        assert python not in got.body["detail"]


def test_an_error_in_the_middle_of_a_stream_is_told(played: Callable[[Style], httpx.Client]) -> None:
    def breaks(request: Recorded, reply: Reply) -> Reply:
        del request
        assert reply.events is not None
        reply.events[5:] = [{"error": {"message": WORDS, "code": 500}}]
        return reply

    got = streamed(played(breaks))
    assert (got.status, WORDS in got.body["detail"]) == (503, True)


def test_events_that_are_none_of_the_apis_are_passed_over(played: Callable[[Style], httpx.Client]) -> None:
    def strange(request: Recorded, reply: Reply) -> Reply:
        del request
        assert reply.events is not None
        strangers: list[Any] = [None, [], "ping", 7, {}, {"choices": None}, {"choices": [None]}]
        for place, event in enumerate(strangers):
            reply.events.insert(place, event)
        return reply

    assert streamed(played(strange)).body["answer"] == SENTENCE


def test_a_server_that_streams_nothing_is_read_whole(played: Callable[[Style], httpx.Client]) -> None:
    def at_once(request: Recorded, reply: Reply) -> Reply:
        del request
        if reply.events is None:
            return reply
        message = {"role": "assistant", "content": THOUGHT + SENTENCE}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Reply(200, {"model": "m", "choices": [choice], "usage": None})

    got = streamed(played(at_once))
    assert (got.body["answer"], got.tokens, got.body["usage"]) == (SENTENCE, SENTENCE, None)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.chat], ids=lambda kind: kind.name)
@WAYS
def test_every_kind_of_server_answers_the_same(
    asking: Callable[..., httpx.Client], openai_server: FakeOpenAI, ask: Ask, kind: Kind
) -> None:
    got = ask(asking(url=kind.play(openai_server, "gpt-4o-mini")))
    assert (got.status, got.body["answer"], got.body["notes"]) == (200, SENTENCE, [])
    assert [citation["marker"] for citation in got.body["citations"]] == [1]
    assert got.body["usage"]["output_tokens"] > 0
    if ask is streamed:
        assert got.tokens.strip() == SENTENCE


def test_chat_may_have_a_server_of_its_own(
    asking: Callable[..., httpx.Client], openai_server: FakeOpenAI
) -> None:
    client = asking(url="http://127.0.0.1:9/v1", base_url=openai_server.url, api_key=KEY)
    assert whole(client).body["answer"] == SENTENCE


def test_the_servers_words_never_repeat_the_key(asking: Callable[..., httpx.Client]) -> None:
    got = whole(asking(both(answering({"error": {"message": f"Incorrect key: {KEY}."}}, 401))))
    assert (got.status, KEY in str(got.body)) == (503, False)
    assert "OPENAI_API_KEY" in got.body["detail"]
