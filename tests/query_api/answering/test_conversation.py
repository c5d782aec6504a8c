"""What a follow-up means, by what came before it; and a conversation over HTTP, with a chat model and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.query_api.answering.conversation import Message, last_exchange, stands_alone, understood

if TYPE_CHECKING:
    import httpx

    from tests.fakes.openai_server import FakeOpenAI

OPTIONS = "There are two ways:\n\n- Use the command line [1]\n- Use the page of the deployment [2]"


@pytest.mark.parametrize(
    ("previous", "answer", "question", "meaning"),
    [
        (
            "What was the revenue of Uber in 2021?",
            "17 billion [1]",
            "and in 2020?",
            "What was the revenue of Uber in 2020?",
        ),
        (
            "What was the revenue of Uber?",
            "17 billion [1]",
            "in 2020?",
            "What was the revenue of Uber in 2020?",
        ),
        (
            "What was the revenue of Uber?",
            "17 billion [1]",
            "and in 2020?",
            "What was the revenue of Uber in 2020?",
        ),
        (
            "What was the revenue of Uber in 2021?",
            "17 billion [1]",
            "what about Lyft",
            "What was the revenue of Lyft in 2021?",
        ),
        (
            "how do I pause a schedule",
            OPTIONS,
            "the second one",
            "how do I pause a schedule: Use the page of the deployment",
        ),
        ("how do I retry a task", "Set retries [1].", "yes", "how do I retry a task"),
        (
            "how do I retry a task",
            "Set retries [1]. Do you want to know how delays are set?",
            "yes please",
            "Do you want to know how delays are set?",
        ),
        (
            "What is a work pool in Prefect?",
            "A queue.",
            "how do I create it?",
            "how do I create it (work pool in Prefect)?",
        ),
        (
            "what is a block",
            "A store of settings [1].",
            "how do I delete one?",
            "how do I delete one (block)?",
        ),
        ("What is a block?", "A store [1].", "How many retries does a task have by default?", None),
        ("", "", "and in 2020?", None),
    ],
)
def test_a_follow_up_is_the_last_question_changed(
    previous: str, answer: str, question: str, meaning: str | None
) -> None:
    assert understood(question, previous, answer) == (meaning or question)
    assert stands_alone(question, previous) is (meaning is None or meaning == question)


def test_the_last_exchange_is_of_the_last_question() -> None:
    said = [
        Message("system", "be brief"),
        Message("user", "one?"),
        Message("assistant", "1"),
        Message("user", "two?"),
        Message("assistant", "2"),
    ]
    assert last_exchange(said) == ("two?", "2")
    assert last_exchange(said[:1]) == ("", "")
    assert last_exchange(said[:2]) == ("one?", "")


def say(client: httpx.Client, *contents: str) -> dict[str, Any]:
    """Questions and answers in turn, the last a question."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    response = client.post("/ask", json={"messages": messages})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_follow_up_is_answered_as_it_is_understood_without_a_chat_model(api: httpx.Client) -> None:
    first = say(api, "how do I retry a failed task?")
    assert (first["answered"], first["question"]) == (True, "how do I retry a failed task?")
    second = say(api, "how do I retry a failed task?", first["answer"], "what about bread")
    assert (
        second["question"] == "how do I retry a failed task what about bread?"
        or "bread" in second["question"]
    )
    third = say(api, "how long is bread baked", "Nothing.", "yes")
    assert (third["question"], third["answered"]) == ("how long is bread baked", True)


def test_a_chat_model_says_what_a_follow_up_means(chat_api: httpx.Client, openai_server: FakeOpenAI) -> None:
    openai_server.says = "how long is bread baked"
    before = len(openai_server.chats())
    answer = say(chat_api, "how do I retry a failed task?", "Set retries [1].", "and bread?")
    assert answer["question"] == "how long is bread baked"
    rewriting, answering = openai_server.chats()[before:]
    assert "user: how do I retry a failed task?" in rewriting["messages"][1]["content"]
    assert "Question: how long is bread baked" in answering["messages"][1]["content"]


def test_a_question_that_stands_by_itself_costs_no_call(
    chat_api: httpx.Client, openai_server: FakeOpenAI
) -> None:
    before = len(openai_server.chats())
    question = "How many times does Prefect run a failed task again by default?"
    assert say(chat_api, "how is bread baked?", "In an oven [1].", question)["question"] == question
    assert len(openai_server.chats()) == before + 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "`question` is missing"),
        ({"question": "a", "messages": [{"role": "user", "content": "b"}]}, "not both"),
        ({"messages": [{"role": "assistant", "content": "b"}]}, "is of the user"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "regex"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "role"),
    ],
)
def test_wrong_messages_are_named(api: httpx.Client, body: dict[str, object], said: str) -> None:
    response = api.post("/ask", json=body)
    assert (response.status_code, said in response.json()["detail"]) == (400, True), response.text


def test_the_prompt_for_follow_ups_answers_nothing(api: httpx.Client) -> None:
    response = api.post("/ask", json={"question": "how is bread baked", "prompt": "follow_up"})
    assert (response.status_code, "there are answer" in response.json()["detail"]) == (400, True), (
        response.text
    )
