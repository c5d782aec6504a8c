"""A sync against embedding servers as they are: none makes it crash or store a wrong vector, and what is refused is
told in the server's own words."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.config.settings import Settings
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.run.options import FailedError
from tests.fakes.mutation import Mutation
from tests.fakes.openai_server import FakeOpenAI, Recorded, Reply, Style, as_it_is, vector
from tests.fakes.server_styles import (
    KINDS,
    Kind,
    answering,
    both,
    changed,
    error,
    floats,
    html_page,
    is_embeddings,
    refusing,
)

if TYPE_CHECKING:
    from pgfolio.flows.run.report import Report
    from tests.flows.library import Library

DOCUMENTS = 60
DIMENSIONS = 64
MUTATED_SYNCS, SOME_MUTATED_SYNCS = 200, 6
PYTHON = re.compile(
    r"NoneType|object has no|not supported between|Error\(|Traceback|unhashable|invalid literal"
)
Make = Callable[..., Settings]
Body = dict[str, Any]


@pytest.fixture
def pages(library: Library) -> Library:
    for n in range(DOCUMENTS):
        library.write(f"{n:02}.md", f"# Page {n}\n\nThis page tells of the number {n}, and of item{n * 7}.\n")
    return library


@pytest.fixture
def synced(pages: Library, new_settings: Make, openai_server: FakeOpenAI) -> Callable[..., Report]:
    def run(style: Style | None = None, *, everything: bool = False, **settings: Any) -> Report:
        if style:
            openai_server.style = style
        embedding = {"provider": "openai", "model": "tiny-embedding", "timeout": 3.0, "deadline": 1.0}
        pages.settings = new_settings(
            **{
                "database_url": pages.conninfo,
                "openai_api_key": openai_server.key,
                "openai_base_url": openai_server.url,
                **settings,
                "embedding": {**embedding, **settings.pop("embedding", {})},
            }
        )
        return pages.sync_at_once(full=everything)

    return run


def check_vectors(library: Library) -> int:
    """Every chunk that has a vector has that of its own text. Their number."""
    library.check()
    rows = library.rows(
        "select d.title, c.heading, c.content, v.embedding::text from {vectors} v join chunks c on c.id = v.chunk_id "
        "join documents d on d.id = c.document_id"
    )
    for title, heading, content, stored in rows:
        got = np.array([float(number) for number in stored.strip("[]").split(",")])
        assert np.allclose(got, vector(embedded_text(title, heading, content), DIMENSIONS), atol=1e-3)
    return len(rows)


def without_index(body: Body) -> None:
    for row in body["data"]:
        del row["index"]


def first_index(body: Body) -> None:
    for row in body["data"]:
        row["index"] = 0


def shuffled(body: Body) -> None:
    """In another order, each with its index."""
    body["data"].reverse()


def text_index(body: Body) -> None:
    for row in body["data"]:
        row["index"] = str(row["index"])


def nested(body: Body) -> None:
    for row in body["data"]:
        row["embedding"] = [row["embedding"]]


def extra_fields(body: Body) -> None:
    body["usage"]["prompt_tokens_details"] = None
    body |= {"id": None, "created": 1, "warnings": ["x"]}


HARMLESS: dict[str, Style] = {
    "no index": changed(without_index),
    "index 0 for all": changed(first_index),
    "another order": changed(shuffled),
    "index as text": changed(text_index),
    "floats for base64": floats,
    "nested vectors": both(floats, changed(nested)),
    "extra fields": changed(extra_fields),
    "no model": changed(lambda body: body.pop("model")),
}
UNCOUNTED: dict[str, Style] = {
    "no usage": changed(lambda body: body.pop("usage")),
    "usage null": changed(lambda body: body.update(usage=None)),
    "usage of nulls": changed(lambda body: body.update(usage={"prompt_tokens": None, "total_tokens": None})),
    "usage of zeros": changed(lambda body: body.update(usage={"prompt_tokens": 0, "total_tokens": 0})),
    "usage of text": changed(lambda body: body.update(usage={"total_tokens": "12"})),
    "a bill that cannot be": changed(lambda body: body.update(usage={"total_tokens": 10**12})),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_an_answer_that_can_be_read_is(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, name: str
) -> None:
    report = synced(HARMLESS[name])
    assert (report.status, report.notes) == ("complete", [])
    assert check_vectors(pages) == report.chunks.total
    assert len(openai_server.requests) <= 3


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_is_not_billed_is_counted_by_ourselves(
    synced: Callable[..., Report], pages: Library, name: str
) -> None:
    report = synced(UNCOUNTED[name], prices={"tiny-embedding": 1000.0})
    assert report.status == "complete"
    assert check_vectors(pages) == report.chunks.total
    assert report.tokens > 10 * DOCUMENTS
    assert report.cost_usd == pytest.approx(report.tokens * 1000 / 1_000_000)
    assert ["tokens and cost are our own count" in note for note in report.notes] == [True]


def test_only_total_tokens_missing_counts_those_of_the_prompt(synced: Callable[..., Report]) -> None:
    report = synced(changed(lambda body: body["usage"].pop("total_tokens")))
    assert (report.tokens > 0, report.notes) == (True, [])


@pytest.mark.parametrize(
    ("style", "rest"),
    [
        (refusing("encoding_format", "encoding_format: base64 is not supported"), 0),
        (refusing("encoding_format", "Extra inputs are not permitted: encoding_format", 422), 0),
        (refusing("encoding_format", "base64 encoding is not implemented", 501), 0),
    ],
)
def test_base64_that_is_refused_is_not_asked_for_again(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, style: Style, rest: int
) -> None:
    def only_floats(request: Recorded, reply: Reply) -> Reply:
        return (
            style(request, reply)
            if request.body.get("encoding_format") != "float"
            else floats(request, reply)
        )

    report = synced(only_floats, embedding={"batch_inputs": 10, "in_flight": 1})
    assert report.status == "complete"
    assert check_vectors(pages) == report.chunks.total
    refused = [r for r in openai_server.requests if r.body.get("encoding_format") == "base64"]
    assert len(refused) <= 2 + rest  # the question for the dimensions, and the first batch


def test_a_server_without_the_parameter_is_asked_without_it(
    synced: Callable[..., Report], pages: Library
) -> None:
    def nothing(request: Recorded, reply: Reply) -> Reply:
        if "encoding_format" in request.body:
            return Reply(
                422,
                {"detail": [{"loc": ["body"], "msg": "extra fields: encoding_format"}]},
            )
        return floats(request, reply) if reply.status == 200 else reply

    assert synced(nothing).status == "complete"
    assert check_vectors(pages) > DOCUMENTS


def test_a_server_that_refuses_to_shorten_may_have_the_dimensions_by_itself(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI
) -> None:
    """Each text was refused, one by one."""
    said = "Model does not support matryoshka representation, changing output dimensions is not possible"
    report = synced(refusing("dimensions", said), embedding={"dimensions": DIMENSIONS, "in_flight": 1})
    assert report.status == "complete"
    assert check_vectors(pages) == report.chunks.total
    assert len(openai_server.requests) == 2


def test_a_server_that_cannot_shorten_ends_the_sync_with_its_own_dimensions(
    synced: Callable[..., Report], openai_server: FakeOpenAI
) -> None:
    said = "This model does not support specifying dimensions."
    with pytest.raises(FailedError, match="64 dimensions where 32 were expected"):
        synced(refusing("dimensions", said), embedding={"dimensions": 32, "in_flight": 1})
    assert len(openai_server.requests) == 2


TOO_MANY = (
    (422, {"error": "batch size {n} > maximum allowed batch size 10", "error_type": "Validation"}),
    (400, {"error": {"message": "batch size is invalid, it should not be larger than 10.", "code": None}}),
    (413, {"detail": "too many inputs: {n}, at most 10"}),
    (500, {"error": {"message": "inputs exceed the maximum of 10", "type": "server_error"}}),
)


@pytest.mark.parametrize(("status", "body"), TOO_MANY)
def test_the_most_inputs_that_a_server_names_are_kept_to(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, status: int, body: Body
) -> None:
    def at_most_ten(request: Recorded, reply: Reply) -> Reply:
        if is_embeddings(request) and (n := len(request.texts)) > 10:
            return Reply(status, eval(repr(body).replace("{n}", str(n))))  # noqa: S307
        return reply

    report = synced(at_most_ten, embedding={"in_flight": 1})
    assert report.status == "complete"
    assert check_vectors(pages) == report.chunks.total
    sizes = [len(request.texts) for request in openai_server.requests]
    assert sum(size > 10 for size in sizes) == 1
    assert len(sizes) <= DOCUMENTS / 10 + 4
    assert any("10" in note and "planned" in note for note in report.notes)


def test_a_request_that_is_too_large_is_halved_and_the_reason_told(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI
) -> None:
    said = "input is too large to process. increase the physical batch size"

    def llama(request: Recorded, reply: Reply) -> Reply:
        return error(500, said) if request.tokens > 400 else reply

    pages.write("long.md", "# Long\n\n" + "A long line of many words that never end. " * 45)
    report = synced(llama)
    assert report.status == "partial"
    assert [problem.path for problem in report.problems] == ["long.md"]
    assert said in report.problems[0].reason
    assert check_vectors(pages) > DOCUMENTS
    assert any(said in note for note in report.notes)
    assert report.seconds["embed"] < 5


WORDS = "the moon is in the wrong house"
FATAL: dict[str, tuple[Style, str]] = {
    "a login page": (html_page("Sign in to the network"), "Sign in to the network"),
    "an empty answer": (answering(b""), "nothing"),
    "half a JSON": (answering(b'{"data": [{"embed'), "no JSON"),
    "a list": (answering([]), "no object"),
    "a text": (answering("hello"), "no object"),
    "an error in a 200": (answering({"error": {"message": WORDS, "code": 401}}), WORDS),
    "an error's text in a 200": (answering({"error": WORDS}), WORDS),
    "vLLM's error in a 200": (answering({"object": "error", "message": WORDS, "code": 400}), WORDS),
    "unknown model": (answering({"error": {"message": WORDS}}, 404), WORDS),
    "FastAPI's refusal": (answering({"detail": [{"loc": ["body"], "msg": WORDS}]}, 422), WORDS),
    "a refusal as plain text": (answering(WORDS.encode(), 400, **{"Content-Type": "text/plain"}), WORDS),
    "a page of a firewall": (html_page("Request blocked", 403), "Request blocked"),
    "no data": (answering({"object": "list", "usage": {"total_tokens": 3}}), "no vectors"),
    "data null": (answering({"object": "list", "data": None}), "no vectors"),
    "rows of null": (answering({"object": "list", "data": [None]}), "answered 1 vectors to"),
    "a down server": (answering({"error": {"message": WORDS}}, 503), WORDS),
}


@pytest.mark.parametrize("name", FATAL)
def test_a_server_that_gives_no_vectors_ends_the_sync_in_its_words(
    synced: Callable[..., Report], openai_server: FakeOpenAI, name: str
) -> None:
    style, words = FATAL[name]
    with pytest.raises((FailedError, ConfigError)) as failed:
        synced(style, embedding={"dimensions": DIMENSIONS})
    assert words in str(failed.value)
    for python in (
        "Error:",
        "NoneType",
        "object has no",
        "not supported between",
        "Traceback",
        openai_server.key,
    ):
        assert str(python) not in str(failed.value)
    assert len(openai_server.requests) < 120


def test_a_firewall_that_blocks_one_text_keeps_that_one_only(
    synced: Callable[..., Report], pages: Library
) -> None:
    def firewall(request: Recorded, reply: Reply) -> Reply:
        blocked = html_page("Request blocked", 403)(request, reply)
        return blocked if any("item49" in text for text in request.texts) else reply

    report = synced(firewall)
    assert [problem.path for problem in report.problems] == ["07.md"]
    assert "Request blocked" in report.problems[0].reason
    assert check_vectors(pages) > DOCUMENTS


@pytest.mark.timeout(1200)
def test_mutated_answers_neither_crash_a_sync_nor_store_a_wrong_vector(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, full: bool
) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(MUTATED_SYNCS if full else SOME_MUTATED_SYNCS):
        chosen = random.Random(seed)
        for n in chosen.sample(range(DOCUMENTS), 12):
            pages.write(
                f"{n:02}.md", f"# Page {n}\n\nThis page was written anew for {seed}, as item{n * seed}.\n"
            )
        change = Mutation(chosen)

        def style(request: Recorded, reply: Reply, change: Mutation = change) -> Reply:
            return change(request, floats(request, reply))

        try:
            report = synced(style, embedding={"dimensions": DIMENSIONS, "batch_inputs": 4})
            outcomes[report.status] += 1
            reasons = [problem.reason for problem in report.problems]
        except FailedError as error:
            outcomes["failed"] += 1
            reasons = [str(error)]
        assert not any(PYTHON.search(reason) for reason in reasons), seed
        check_vectors(pages)
    print(f"\n{outcomes.total()} syncs: {dict(outcomes)}")
    report = synced(as_it_is, everything=True, embedding={"dimensions": DIMENSIONS})
    assert (report.status, report.problems) == ("complete", [])
    assert check_vectors(pages) > DOCUMENTS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_server_gives_the_same_vectors(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, kind: Kind
) -> None:
    url = kind.play(openai_server, "tiny-embedding")
    report = synced(openai_base_url=url, embedding={"in_flight": 1})
    assert (report.status, report.problems) == ("complete", [])
    assert check_vectors(pages) == report.chunks.total > DOCUMENTS
    assert len(openai_server.requests) <= 14


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("{root}/openai?api-version=2024-10-21", {}),
        ("{root}/openai/", {"openai_api_version": "2024-10-21"}),
        ("{root}/openai/deployments/tiny-embedding?api-version=2024-10-21", {}),
        ("{root}/openai/deployments/tiny-embedding/embeddings?api-version=2024-10-21", {}),
    ],
)
def test_azures_addresses(
    synced: Callable[..., Report], pages: Library, openai_server: FakeOpenAI, base: str, settings: Body
) -> None:
    next(kind for kind in KINDS if kind.name == "Azure").play(openai_server, "tiny-embedding")
    root = f"http://127.0.0.1:{openai_server.port}"
    assert synced(openai_base_url=base.format(root=root), **settings).status == "complete"
    assert check_vectors(pages) > DOCUMENTS
