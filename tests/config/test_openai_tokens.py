"""What OpenAI's models count is known without asking them."""

from __future__ import annotations

import pytest

from pgfolio.config.models.openai_tokens import billed_per_counted

# As the package bpe-openai 0.1.4 counts in cl100k_base.
COUNTED = {
    "Hello world, this is a test of tokens. ": 11,
    "def add(a, b):\n    return a + b\n": 12,
    "Größere Änderungen stehen im Übrigen an.": 14,
}


def test_tokens_are_those_of_the_models_own_vocabulary() -> None:
    for text, tokens in COUNTED.items():
        ratio = billed_per_counted("text-embedding-3-large", [(text, 5)])
        assert ratio == pytest.approx(tokens / 5, abs=0.21)
    assert billed_per_counted("some-other-model", [("a", 1)]) is None
    assert billed_per_counted("text-embedding-3-small", []) is None
