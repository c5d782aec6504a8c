"""`POST /ask` as the AI SDK reads it: the header that it wants, and the parts in their order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.openai_server import FaultScenario

if TYPE_CHECKING:
    import httpx

    from tests.fakes.openai_server import FakeOpenAI

HEADERS = {"X-Vercel-AI-UI-Message-Stream": "v1"}
QUESTION = "how do I retry a failed task"


def parts(client: httpx.Client, body: dict[str, Any]) -> list[Any]:
    answer = client.post("/ask", json=body, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event for event in answer.text.replace("\r\n", "\n").split("\n\n") if event]
    data = [event.removeprefix("data: ") for event in events]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


@pytest.mark.parametrize("fixture", ["api", "chat_api"])
def test_an_answer_comes_in_the_parts_of_a_message(request: pytest.FixtureRequest, fixture: str) -> None:
    client = request.getfixturevalue(fixture)
    *messages, done = parts(client, {"messages": [{"role": "user", "content": QUESTION}]})
    assert done == "[DONE]"
    kinds = [message["type"] for message in messages]
    deltas, sources = kinds.count("text-delta"), kinds.count("source-url")
    assert deltas
    assert sources
    middle = ["text-start", *["text-delta"] * deltas, "text-end", *["source-url"] * sources]
    assert kinds == ["start", *middle, "finish"]
    assert messages[0].keys() == {"type", "messageId"}
    assert len({message["id"] for message in messages if message["type"].startswith("text-")}) == 1
    text = "".join(message.get("delta", "") for message in messages)
    assert text == client.post("/ask", json={"question": QUESTION}).json()["answer"]
    for message in messages:
        if message["type"] == "source-url":
            assert message.keys() == {"type", "sourceId", "url", "title"}
            assert message["url"].startswith(f"{client.base_url}/d/")


def test_what_goes_wrong_is_an_error_part(chat_api: httpx.Client, openai_server: FakeOpenAI) -> None:
    openai_server.fault_scenario = FaultScenario(cut=True, only="chat")
    last = parts(chat_api, {"question": QUESTION})[-1]
    assert last.keys() == {"type", "errorText"}
    assert last["type"] == "error"


def test_another_version_is_not_spoken(api: httpx.Client) -> None:
    answer = api.post("/ask", json={"question": QUESTION}, headers={"X-Vercel-AI-UI-Message-Stream": "v9"})
    assert answer.headers["content-type"] == "application/json"
