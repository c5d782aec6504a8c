"""The weight of a generation's similarities is measured on the corpus, kept, and measured anew."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pgfolio.flows.index import weighing
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.vectors import generations
from tests.fakes.openai_server import KEY, SERVER_ERROR, FakeOpenAI, Recorded, Reply
from tests.flows.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report

TOPICS, WORDS_OF_EACH, DIMENSIONS = 40, 24, 64
MAX_WEIGHT = 1.5
CHUNKS = weighing.MIN_VECTORS + 20


def word(topic: int, n: int) -> str:
    """One of a topic's words, made of letters alone; no two begin alike."""
    letters = random.Random(topic * WORDS_OF_EACH + n)
    return "".join(letters.choices("abdeghiklmnoprstuvz", k=8))


TOPIC_OF = {word(topic, n): topic for topic in range(TOPICS) for n in range(WORDS_OF_EACH)}


def page(number: int) -> str:
    """Of two topics: a model that knows them finds what follows by what it is about, no word being there twice."""
    rng = random.Random(number)
    topics = rng.sample(range(TOPICS), 2)
    words = [word(topic, n) for topic in topics for n in range(WORDS_OF_EACH)]
    rng.shuffle(words)
    return f"# {word(topics[0], 0)}\n\n{' '.join(words)}.\n"


def knows_topics(text: str) -> np.ndarray:
    vector = np.full(DIMENSIONS, 1e-3)
    for each in text.lower().replace(".", " ").split():
        if each in TOPIC_OF:
            vector[TOPIC_OF[each]] += 1
    return vector


def knows_nothing(text: str) -> np.ndarray:
    return np.random.default_rng(abs(hash(text))).normal(size=DIMENSIONS)


def embeds(server: FakeOpenAI, model: Callable[[str], np.ndarray]) -> None:
    def style(request: Recorded, reply: Reply) -> Reply:
        if request.path.endswith("/embeddings") and reply.status == 200:
            for one, text in zip(reply.body["data"], request.texts, strict=True):
                one["embedding"] = model(text)[: request.body.get("dimensions", DIMENSIONS)].tolist()
        return reply

    server.style = style


@pytest.fixture
def hosted(
    tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> Library:
    settings = new_settings(
        database_url=conninfo,
        openai_api_key=KEY,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "tiny-embedding"},
        prices={"tiny-embedding": 1.0},
    )
    root = tmp_path / "hosted"
    root.mkdir()
    return Library(root, conninfo, settings)


def stored_weight(library: Library) -> Any:
    ((weight, vectors),) = library.rows(
        "select vector_weight, weighed_vectors from generations where state = 'active'"
    )
    return weight, vectors


def write_pages(library: Library, first: int, last: int) -> None:
    for number in range(first, last):
        library.write(f"{number}.md", page(number))


def sync_and_weigh(library: Library) -> Report:
    """A sync, and what it does where the model is in the process; one that is paid for is measured when asked for."""
    synced = library.sync()
    run = RunContext(library.settings, library.conninfo, Options())
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        weighing.weigh(run, connection, generation)
    run.report.tokens += synced.tokens
    return run.report


def test_a_sync_pays_for_documents_alone(hosted: Library, openai_server: FakeOpenAI) -> None:
    write_pages(hosted, 0, CHUNKS)
    hosted.sync()
    assert stored_weight(hosted) == (None, None)
    assert len([text for text in openai_server.embedded() if text != "dimensions"]) == CHUNKS


def test_a_strong_model_leads_at_the_cost_of_a_few_short_texts(
    hosted: Library, openai_server: FakeOpenAI
) -> None:
    embeds(openai_server, knows_topics)
    write_pages(hosted, 0, CHUNKS)
    report = sync_and_weigh(hosted)
    assert stored_weight(hosted) == (MAX_WEIGHT, CHUNKS)
    texts = openai_server.embedded()
    weighed = len([text for text in texts if text != "dimensions"]) - CHUNKS
    assert 2 * weighing.MIN_FRAGMENTS <= weighed <= 2 * weighing.FRAGMENTS
    tokens = sum(request.tokens for request in openai_server.admitted)
    assert report.tokens == pytest.approx(tokens, abs=10)  # what it took is counted
    with connect(hosted.conninfo) as connection:
        ((generation,),) = [overview(connection, None)["generations"]]
    assert generation["vector_weight"] == MAX_WEIGHT


def test_a_weak_model_is_silent_until_a_better_one_takes_its_place(
    hosted: Library, openai_server: FakeOpenAI
) -> None:
    embeds(openai_server, knows_nothing)
    write_pages(hosted, 0, CHUNKS)
    report = sync_and_weigh(hosted)
    assert stored_weight(hosted) == (0, CHUNKS)
    assert any("hardly tells the texts of this corpus apart" in note for note in report.notes)
    embeds(openai_server, knows_topics)
    run_reembed(other_space(hosted), hosted.conninfo, Options())
    assert stored_weight(hosted) == (MAX_WEIGHT, CHUNKS)


def other_space(library: Library) -> Settings:
    embedding = library.settings.embedding.model_copy(update={"dimensions": TOPICS})
    return library.settings.model_copy(update={"embedding": embedding})


def test_it_is_measured_anew_when_the_corpus_has_doubled(hosted: Library, openai_server: FakeOpenAI) -> None:
    embeds(openai_server, knows_nothing)
    write_pages(hosted, 0, CHUNKS)
    sync_and_weigh(hosted)
    embeds(openai_server, knows_topics)
    write_pages(hosted, CHUNKS, CHUNKS + 20)
    sync_and_weigh(hosted)
    assert stored_weight(hosted) == (0, CHUNKS)
    write_pages(hosted, CHUNKS + 20, 2 * CHUNKS)
    sync_and_weigh(hosted)
    assert stored_weight(hosted)[1] == 2 * CHUNKS


def test_of_few_texts_nothing_is_said_and_nothing_is_paid(hosted: Library, openai_server: FakeOpenAI) -> None:
    write_pages(hosted, 0, 20)
    sync_and_weigh(hosted)
    assert stored_weight(hosted) == (None, None)
    assert len([text for text in openai_server.embedded() if text != "dimensions"]) == 20


def test_the_bundled_model_is_what_others_are_compared_with(library: Library) -> None:
    write_pages(library, 0, CHUNKS)
    library.sync()
    assert stored_weight(library) == (None, None)


def test_a_model_that_cannot_be_asked_keeps_its_weight(hosted: Library, openai_server: FakeOpenAI) -> None:
    embeds(openai_server, knows_topics)
    write_pages(hosted, 0, CHUNKS)
    sync_and_weigh(hosted)
    openai_server.fault_scenario = SERVER_ERROR
    embedding = hosted.settings.embedding.model_copy(update={"deadline": 0.1})
    run = RunContext(hosted.settings.model_copy(update={"embedding": embedding}), hosted.conninfo, Options())
    with connect(hosted.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        weighing.weigh(run, connection, generation, anew=True)
    assert stored_weight(hosted) == (MAX_WEIGHT, CHUNKS)
    assert "was not measured" in run.report.notes[0]
