"""Whatever a chat model's server answers, a question gets an answer of our schema or a problem of the server's."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pgfolio.query_api.service.contracts import AskAnswer
from tests.fakes.mutation import Mutation
from tests.fakes.openai_server import KEY, FakeOpenAI
from tests.query_api.answering.test_ask import QUESTION, events
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings

EXAMPLES, SOME_EXAMPLES = 5_000, 120
SENTENCE = "A failed task is run again as often as its retries say [1]."


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.timeout(1200)
def test_an_answer_fits_the_schema_or_is_a_problem_of_the_model(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI, full: bool, stream: bool
) -> None:
    openai_server.says = SENTENCE
    settings = new_settings(
        openai_api_key=KEY, openai_base_url=openai_server.url, chat={"model": "gpt-4o-mini", "timeout": 5}
    )
    outcomes: Counter[str] = Counter()
    with running_api(settings, library) as client:
        for seed in range(EXAMPLES if full else SOME_EXAMPLES):
            openai_server.style = Mutation(random.Random(seed))
            if stream:
                name, body = events(client, QUESTION)[-1]
            else:
                response = client.post("/ask", json={"question": QUESTION})
                body = response.json()
                name = "done" if response.status_code == 200 else "error"
            outcomes[outcome(name, body)] += 1
    print(f"\n{outcomes.total()} examples, {len(outcomes)} outcomes")
    print("\n".join(f"{count:6} {outcome}" for outcome, count in outcomes.most_common()))
    assert outcomes["the answer"] > outcomes.total() / 4
    assert len(outcomes) > 2


def outcome(name: str, body: dict[str, Any]) -> str:
    """In words that are the same for the same outcome. Fails for a fault of ours."""
    if name == "error":
        assert body["status"] in {502, 503}, body
        assert not re.search(r"NoneType|object has no|Error\(|Traceback|KEY", body["detail"]), body
        return re.sub("[0-9]+", "N", body["detail"])
    answer = msgspec.convert(body, AskAnswer)
    if answer.answer == SENTENCE:
        return "the answer"
    return f"another text: answered {answer.answered}, {answer.notes}"
