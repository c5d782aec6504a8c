"""What an index is measured with: recent queries of users, and likely ones made of the documents.

Queries lie elsewhere than texts do. On 63,000 chunks of mixed documentation an index found 0.98 of what stored
vectors are nearest to, and 0.71 of what headings are, asked as questions (m 16, ef_construction 64, ef_search 64).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.embedding.budget import BudgetSpentError
from pgfolio.schema.vectors import tuning

if TYPE_CHECKING:
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

MIN_VECTORS_FOR_QUERIES = 10_000
"""Of fewer vectors recall is not measured with queries, which may cost money, unless the user asks for it: an index
of so few finds nearly all of them."""

QUERY_WORDS = 8
MAX_QUERY_CHARACTERS = 80
"""Characters: not every language has spaces."""


def evaluation_queries(
    run: RunContext, connection: Connection, generation: Generation, count: int
) -> list[np.ndarray]:
    """Vectors of so many queries, each of shape (dimensions,): at most half are of users, as far as these are
    kept. Fewer, or none, where the model cannot be had; the report then says why. Commits."""
    texts = tuning.logged_queries(connection, count // 2)
    sampled = tuning.sample_texts(connection, generation, count - len(texts))
    connection.commit()
    texts += [
        query for n, (heading, content) in enumerate(sampled) if (query := likely_query(n, heading, content))
    ]
    if not texts:
        return []
    run.progress.stage(f"embedding {len(texts)} questions")
    prefixed = [generation.space.query_prefix + text for text in texts]
    try:
        with run.embedder(generation) as embedder, run.report.timed("embed"):
            answers = embedder.embed(prefixed, run.tokenizer.count(prefixed), lambda *_: None)
    except (ModelError, ConfigError, BudgetSpentError) as error:
        run.report.note(
            f"{error}: the index is measured with stored vectors, which it finds better than questions"
        )
        return []
    return [answer for answer in answers if isinstance(answer, np.ndarray) and answer.any()]


def likely_query(n: int, heading: str, content: str) -> str:
    """A chunk's own heading, or some words from the middle of its text, in turns. Pure."""
    own = heading.rpartition(" > ")[2].strip()
    if own and n % 2 == 0:
        return own[:MAX_QUERY_CHARACTERS]
    words = [word for word in content.split() if any(map(str.isalnum, word))]
    first = max((len(words) - QUERY_WORDS) // 2, 0)
    return " ".join(words[first : first + QUERY_WORDS])[:MAX_QUERY_CHARACTERS]
