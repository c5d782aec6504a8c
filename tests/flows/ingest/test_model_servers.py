"""A sync and a move to another model against a server that speaks the OpenAI API, with the real SDK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import SecretStr

from pgfolio.config import models
from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import FatalModelError, RejectedInputError, TransientError
from pgfolio.config.settings import Settings
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.fakes.openai_server import (
    CUT,
    NAN,
    NO_QUOTA,
    ONE_TOO_FEW,
    RATE_LIMIT,
    SERVER_ERROR,
    FakeOpenAI,
    FaultScenario,
)

if TYPE_CHECKING:
    from pgfolio.schema.records import Source

Make = Callable[..., Settings]


@pytest.fixture
def hosted(new_settings: Make, conninfo: str, openai_server: FakeOpenAI) -> Make:
    """Settings on the fake server, with short patience."""

    def made(**embedding: object) -> Settings:
        return new_settings(
            database_url=conninfo,
            openai_api_key=openai_server.key,
            openai_base_url=openai_server.url,
            embedding={"provider": "openai", "timeout": 2.0, "deadline": 1.0, **embedding},
        )

    return made


@pytest.fixture
def source(tmp_path: Path, conninfo: str) -> Source:
    for n in range(30):
        (tmp_path / f"{n}.md").write_text(f"# Page {n}\n\nThis page tells of the number {n}.\n")
    with connect(conninfo) as connection:
        return sources.ensure_source(connection, str(tmp_path), name="pages")


def client(settings: Settings, name: str = "tiny-embedding", dimensions: int = 64) -> models.EmbeddingModel:
    return models.embedding_model(settings, "openai", name, dimensions)


def test_a_sync_stores_the_servers_vectors(hosted: Make, source: Source, openai_server: FakeOpenAI) -> None:
    settings = hosted()
    report = run_sync(settings, _conninfo(settings), [source], Options())
    assert (report.status, report.documents.added) == ("complete", 30)
    assert report.tokens > 0
    assert report.cost_usd == pytest.approx(report.tokens * 0.02 / 1_000_000)
    with connect(_conninfo(settings)) as connection:
        generation = generations.active_generation(connection)
    assert generation is not None
    assert generation.space.name == "openai/text-embedding-3-small/1536"
    assert len(openai_server.embedded()) == report.chunks.embedded


def test_requests_stay_within_the_batch(hosted: Make, source: Source, openai_server: FakeOpenAI) -> None:
    settings = hosted(batch_inputs=7)
    run_sync(settings, _conninfo(settings), [source], Options())
    sizes = [len(r.body["input"]) for r in openai_server.requests if "embeddings" in r.path]
    assert max(sizes) <= 7
    assert sum(sizes) == len(openai_server.embedded())


def test_base64_and_float_answers_give_the_same_vectors(hosted: Make, openai_server: FakeOpenAI) -> None:
    model = client(hosted())
    packed = model.embed(["one", "two"]).vectors
    body = openai_server.requests[-1].body
    assert body.get("encoding_format") == "base64"
    import httpx

    plain = httpx.post(
        f"{openai_server.url}/embeddings",
        json={"model": "tiny-embedding", "input": ["one", "two"], "encoding_format": "float"},
        headers={"Authorization": f"Bearer {openai_server.key}"},
    ).json()["data"]
    assert np.allclose(packed, [row["embedding"] for row in plain], atol=1e-6)


def test_dimensions_are_requested_from_the_server(hosted: Make) -> None:
    settings = hosted(dimensions=256)
    assert models.configured_space(settings) == ("openai", "text-embedding-3-small", 256, True)
    model = models.embedding_model(settings, "openai", "text-embedding-3-small", 256, shorten=True)
    assert model.embed(["one"]).vectors.shape == (1, 256)


def test_an_unknown_models_dimensions_are_found_out(hosted: Make) -> None:
    assert models.configured_space(hosted(model="tiny-embedding")) == ("openai", "tiny-embedding", 64, False)


@pytest.mark.parametrize(
    ("fault_scenario", "error", "said"),
    [
        (RATE_LIMIT, TransientError, "rate limit"),
        (SERVER_ERROR, TransientError, "the server failed"),
        (CUT, TransientError, "no connection"),
        (ONE_TOO_FEW, TransientError, "1 vectors to 2 inputs"),
        (NAN, TransientError, "NaN"),
        (FaultScenario(dimensions=63), FatalModelError, "63 dimensions where 64"),
        (NO_QUOTA, FatalModelError, "quota is spent"),
        (FaultScenario(poison="two"), RejectedInputError, "refused"),
        (FaultScenario(delay=3.0), TransientError, "no connection"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_failed_request_says_whether_it_may_pass(
    hosted: Make, openai_server: FakeOpenAI, fault_scenario: FaultScenario, error: type[Exception], said: str
) -> None:
    model = client(hosted())
    openai_server.fault_scenario = fault_scenario
    with pytest.raises(error, match=said):
        model.embed(["one", "two"])
    assert len(openai_server.requests) == 1


def test_a_wrong_key_ends_the_run_with_the_sentence_that_says_so(
    new_settings: Make, conninfo: str, openai_server: FakeOpenAI, source: Source
) -> None:
    settings = new_settings(
        database_url=conninfo,
        openai_api_key="sk-wrong",
        openai_base_url=openai_server.url,
        embedding={"provider": "openai"},
    )
    with pytest.raises(FailedError, match="check OPENAI_API_KEY") as caught:
        run_sync(settings, conninfo, [source], Options())
    assert "sk-wrong" not in str(caught.value)
    with connect(conninfo) as connection:
        assert connection.execute("select count(*) from documents").fetchone() == (0,)
        assert connection.execute("select status from runs").fetchall() == [("failed",)]


def test_no_key_is_a_wrong_configuration(new_settings: Make, conninfo: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        client(new_settings(database_url=conninfo))


def test_transient_errors_do_not_show_in_the_result(
    hosted: Make, source: Source, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = replace(RATE_LIMIT, retry_after=0, times=3)
    settings = hosted(deadline=30.0)
    report = run_sync(settings, _conninfo(settings), [source], Options())
    assert (report.status, report.documents.added) == ("complete", 30)


def test_one_rejected_text_fails_its_document_alone(
    hosted: Make, source: Source, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(poison="number 17.")
    settings = hosted()
    report = run_sync(settings, _conninfo(settings), [source], Options())
    assert (report.status, report.documents.added, report.documents.failed) == ("partial", 29, 1)
    assert [(problem.path, problem.stage) for problem in report.problems] == [("17.md", "embed")]


def test_a_server_that_stays_down_fails_the_run_and_the_next_one_goes_on(
    hosted: Make, source: Source, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = SERVER_ERROR
    settings = hosted(deadline=0.2)
    with pytest.raises(FailedError, match="the server failed"):
        run_sync(settings, _conninfo(settings), [source], Options())
    openai_server.fault_scenario = None
    assert run_sync(settings, _conninfo(settings), [source], Options()).documents.added == 30


def test_the_allowed_cost_stops_the_run_and_keeps_what_is_done(
    hosted: Make, source: Source, openai_server: FakeOpenAI
) -> None:
    settings = hosted(batch_inputs=5).model_copy(update={"prices": {"text-embedding-3-small": 1_000_000.0}})
    report = run_sync(settings, _conninfo(settings), [source], Options(max_cost=1.0))
    assert report.status == "partial"
    assert "allowed" in report.problems[0].reason
    assert openai_server.embedded() == []


def test_reembedding_moves_the_corpus_to_another_space_and_back(
    hosted: Make, source: Source, openai_server: FakeOpenAI, new_settings: Make
) -> None:
    hosted_settings = hosted()
    conninfo = _conninfo(hosted_settings)
    local = new_settings(database_url=conninfo)
    run_sync(local, conninfo, [source], Options())
    there = run_reembed(hosted_settings, conninfo, Options())
    assert (there.status, there.chunks.embedded) == ("complete", 30)
    with connect(conninfo) as connection:
        generation_states = [
            (g.space.provider, g.state) for g in generations.list_generations(connection, "active", "retired")
        ]
    assert generation_states == [("openai", "active"), ("local", "retired")]
    back = run_reembed(local, conninfo, Options())
    assert (back.status, back.chunks.embedded) == ("complete", 0)
    assert run_reembed(local, conninfo, Options()).chunks.embedded == 0
    assert len(openai_server.embedded()) == 30


def test_a_move_that_keeps_nothing_leaves_one_table_with_its_index(
    hosted: Make, source: Source, new_settings: Make
) -> None:
    settings = hosted()
    conninfo = _conninfo(settings)
    run_sync(new_settings(database_url=conninfo), conninfo, [source], Options())
    index = settings.index.model_copy(update={"keep_generations_days": 0})
    run_reembed(settings.model_copy(update={"index": index}), conninfo, Options())
    with connect(conninfo) as connection:
        assert [g.space.provider for g in generations.list_generations(connection, "active", "retired")] == [
            "openai"
        ]
        tables = connection.execute(
            "select count(*) from pg_class where relname ~ '^vectors_[0-9]+(_hnsw)?$'"
        )
        assert tables.fetchone() == (2,)


def test_a_failed_move_leaves_the_old_space_active(
    hosted: Make, source: Source, openai_server: FakeOpenAI, new_settings: Make
) -> None:
    settings = hosted(deadline=0.2)
    conninfo = _conninfo(settings)
    run_sync(new_settings(database_url=conninfo), conninfo, [source], Options())
    openai_server.fault_scenario = SERVER_ERROR
    with pytest.raises(FailedError):
        run_reembed(settings, conninfo, Options())
    with connect(conninfo) as connection:
        assert [g.space.provider for g in generations.list_generations(connection, "active")] == ["local"]
    openai_server.fault_scenario = None
    assert run_reembed(settings, conninfo, Options()).status == "complete"


def test_a_move_that_may_not_cost_enough_says_so_and_goes_on_later(
    hosted: Make, source: Source, openai_server: FakeOpenAI, new_settings: Make
) -> None:
    settings = hosted(batch_inputs=10).model_copy(update={"prices": {"text-embedding-3-small": 1_000_000.0}})
    conninfo = _conninfo(settings)
    run_sync(new_settings(database_url=conninfo), conninfo, [source], Options())
    with pytest.raises(FailedError, match=r"more than the \$200\.00 allowed: the old space stays"):
        run_reembed(settings, conninfo, Options(max_cost=200.0))
    first = len(openai_server.embedded())
    assert 0 < first < 30
    assert run_reembed(settings, conninfo, Options()).status == "complete"
    assert len(openai_server.embedded()) == 30


def test_limits_are_shared_by_key_and_model_and_do_not_name_the_key(hosted: Make) -> None:
    settings = hosted()
    names = [
        models.limits_name(settings, "small"),
        models.limits_name(settings, "large"),
        models.limits_name(settings.model_copy(update={"openai_api_key": SecretStr("sk-b")}), "small"),
    ]
    assert len(set(names)) == 3
    assert models.limits_name(hosted(), "small") == names[0]
    assert not any("sk-" in name for name in names)


def test_a_sync_after_the_settings_changed_stays_in_the_active_space(
    hosted: Make, source: Source, openai_server: FakeOpenAI, new_settings: Make
) -> None:
    settings = hosted()
    conninfo = _conninfo(settings)
    run_sync(new_settings(database_url=conninfo), conninfo, [source], Options())
    (Path(source.root) / "new.md").write_text("# New\n\nA new page.\n")
    run_sync(settings, conninfo, [source], Options())
    assert openai_server.embedded() == []


def _conninfo(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()
