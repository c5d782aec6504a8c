"""Whatever a server answers to embeddings, a text is given its own vector or none, with a sentence that says why."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pgfolio.config import models
from pgfolio.config.models.protocols import BadAnswerError, Embeddings, ModelError
from tests.fakes.mutation import Mutation
from tests.fakes.openai_server import FakeOpenAI, Recorded, Reply, vector
from tests.fakes.server_styles import floats

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings

EXAMPLES, SOME_EXAMPLES = 20_000, 600
DIMENSIONS = 8
TEXTS = ["one", "two of them", "three", "four is more"]
PYTHON = re.compile(
    r"NoneType|object has no|not supported between|Error\(|Traceback|unhashable|invalid literal"
)
"""Of a message that was made for nobody."""


def answered(model: models.EmbeddingModel) -> tuple[Embeddings | None, str]:
    """What was answered, as far as it is usable, and the outcome in words that are the same for the same one."""
    try:
        answer = model.embed(TEXTS)
    except ModelError as error:
        usable = error.answer if isinstance(error, BadAnswerError) else None
        return usable, f"{type(error).__name__}: {re.sub('[0-9]+', 'N', str(error))}"
    return answer, "right" if answer.tokens else "right, not billed"


@pytest.mark.parametrize("encoding", ["base64", "floats"])
@pytest.mark.timeout(600)
def test_no_text_is_given_a_wrong_vector(
    new_settings: Callable[..., Settings], openai_server: FakeOpenAI, full: bool, encoding: str
) -> None:
    settings = new_settings(openai_api_key=openai_server.key, openai_base_url=openai_server.url)
    model = models.embedding_model(settings, "openai", "tiny-embedding", DIMENSIONS, shorten=True)
    right = np.array([vector(text, DIMENSIONS) for text in TEXTS])
    outcomes: Counter[str] = Counter()
    for seed in range(EXAMPLES if full else SOME_EXAMPLES):
        change = Mutation(random.Random(seed))

        def style(request: Recorded, reply: Reply, change: Mutation = change) -> Reply:
            return change(request, floats(request, reply) if encoding == "floats" else reply)

        openai_server.style = style
        answer, said = answered(model)
        outcomes[said] += 1
        assert not PYTHON.search(said), seed
        if answer is not None:
            rows = np.isfinite(answer.vectors).all(axis=1)
            assert np.allclose(answer.vectors[rows], right[rows], atol=1e-6), seed
            assert answer.tokens is None or answer.tokens > 0
    print(f"\n{encoding}: {outcomes.total()} examples, {len(outcomes)} outcomes")
    print("\n".join(f"{count:6} {outcome}" for outcome, count in outcomes.most_common()))
    assert outcomes["right"] > outcomes.total() / 20
    assert len(outcomes) > 5
