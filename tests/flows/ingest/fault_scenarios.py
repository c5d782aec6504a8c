"""The model server's fault scenarios: what is done to it, what the run must come to, and one run in each of them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgfolio.config.loading import load_settings
from pgfolio.flows.embedding.embedder import PROBE
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import (
    CUT,
    NO_QUOTA,
    RATE_LIMIT,
    SERVER_ERROR,
    Allowance,
    FakeOpenAI,
    FaultScenario,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.flows.run.report import Report

FILES = 64
SECTIONS = 4
CHUNKS = FILES * SECTIONS
"""All in one request: the files are one batch."""

REJECTED_PART = "Part 17.2 "
REJECTED_FILE = "17.md"


@dataclass(frozen=True)
class Case:
    """`prepare` puts the server into the scenario; `settings` are those of the embedding section."""

    name: str
    prepare: Callable[[FakeOpenAI], object]
    does: str
    """What the run does, for the table."""
    status: str = "complete"
    failed: dict[str, str] = field(default_factory=dict)
    """Documents that get no vector, with a part of the reason."""
    error: str = ""
    """Part of the sentence that ends the run."""
    requests: tuple[int, int] = (1, 1)
    """At least and at most."""
    more_texts: int = 0
    """Texts that may be given vectors more than once."""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    report: Report
    failed: dict[str, str]
    requests: int
    given_twice: int
    """Texts that the server gave vectors to beyond the first time."""
    stored: int
    """Chunks with a vector, that is, of stored documents."""
    seconds: float


def fault_scenario(value: FaultScenario) -> Callable[[FakeOpenAI], object]:
    return lambda server: setattr(server, "fault_scenario", value)


def allowing(tokens: int, window: float, *, tells: bool) -> Callable[[FakeOpenAI], object]:
    return lambda server: setattr(server, "allowance", Allowance(tokens, 0, window, tells))


def cases(down: float = 3.0) -> list[Case]:
    """`down`: seconds that the server is away."""
    reset = (
        ("x-ratelimit-limit-tokens", "1000000"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "300ms"),
    )
    return [
        Case(
            "429 with Retry-After, three times",
            fault_scenario(FaultScenario(429, "rate_limit_exceeded", retry_after=0.3, times=3)),
            "all workers wait as long as asked, the batch stays whole",
            requests=(4, 4),
        ),
        Case(
            "429 with x-ratelimit-reset, three times",
            fault_scenario(FaultScenario(429, "rate_limit_exceeded", headers=reset, times=3)),
            "the same, and the limit that was told is kept from then on",
            requests=(4, 6),
        ),
        Case(
            "429 without headers, three times",
            fault_scenario(FaultScenario(429, "rate_limit_exceeded", times=3)),
            "exponential backoff with jitter, the batch stays whole",
            requests=(4, 4),
        ),
        Case(
            "429 that asks to wait for two hours",
            fault_scenario(FaultScenario(429, "rate_limit_exceeded", retry_after=7200)),
            "ends at once and says how long",
            "failed",
            error="wait 2:00:00 before the next request; run it again after that",
        ),
        Case(
            "429 for longer than the deadline",
            fault_scenario(RATE_LIMIT),
            "ends when nothing succeeded for the deadline",
            "failed",
            error="rate limit (429)",
            requests=(2, 40),
            settings={"deadline": 1.0},
        ),
        Case(
            "a limit of tokens that is set",
            allowing(300_000, 60, tells=False),
            "sends requests of 2% of the limit, paced so that no 429 comes",
            requests=(4, 12),
            settings={"tokens_per_minute": 300_000},
        ),
        Case(
            "a limit below one batch, never told",
            allowing(9_000, 1.0, tells=False),
            "backs off until the deadline, asks with one plain word, then halves",
            requests=(4, 60),
            settings={"deadline": 1.0},
        ),
        Case(
            "500, three times",
            fault_scenario(FaultScenario(500, times=3)),
            "exponential backoff with jitter",
            requests=(4, 4),
        ),
        Case(
            "500 for longer than the deadline",
            fault_scenario(SERVER_ERROR),
            "asks with one plain word, then ends",
            "failed",
            error="the server failed (500)",
            requests=(3, 40),
            settings={"deadline": 1.0},
        ),
        Case("slow: every answer takes 1 s", fault_scenario(FaultScenario(delay=1.0)), "waits"),
        Case(
            "slower than the timeout, twice",
            fault_scenario(FaultScenario(delay=1.5, times=2)),
            "cuts the request off, tries again",
            requests=(3, 3),
            more_texts=2 * CHUNKS,
            settings={"timeout": 1.0},
        ),
        Case(
            "connection cut in the answer, three times",
            fault_scenario(FaultScenario(cut=True, times=3)),
            "tries again",
            requests=(4, 4),
        ),
        Case(
            "every connection cut",
            fault_scenario(CUT),
            "asks with one plain word, then ends",
            "failed",
            error="no connection to the server",
            requests=(3, 40),
            settings={"deadline": 1.0},
        ),
        Case(
            "one vector too few, twice",
            fault_scenario(FaultScenario(missing=1, times=2)),
            "tries again",
            requests=(3, 3),
        ),
        Case(
            "one vector too few, whenever a certain text is in the batch",
            fault_scenario(FaultScenario(missing=1, poison=REJECTED_PART)),
            "three attempts, then halves until the text stands alone",
            "partial",
            {REJECTED_FILE: "0 vectors to 1 inputs"},
            requests=(14, 30),
        ),
        Case(
            "one vector too few, always",
            fault_scenario(FaultScenario(missing=1)),
            "three attempts, then asks with one plain word, and ends",
            "failed",
            error="answers but refuses everything",
            requests=(4, 20),
        ),
        Case(
            "vectors of a wrong length",
            fault_scenario(FaultScenario(dimensions=63)),
            "ends at once",
            "failed",
            error="63 dimensions where 64 were expected",
        ),
        Case(
            "NaN in one vector",
            fault_scenario(FaultScenario(nan=True, poison=REJECTED_PART)),
            "keeps the others, asks twice more for that one alone",
            "partial",
            {REJECTED_FILE: "NaN"},
            requests=(3, 3),
        ),
        Case(
            "one zero vector",
            fault_scenario(FaultScenario(zero=True, poison=REJECTED_PART)),
            "keeps the others",
            "partial",
            {REJECTED_FILE: "zero vector"},
        ),
        Case(
            "one poisonous text in a batch of 256 (400)",
            fault_scenario(FaultScenario(poison=REJECTED_PART)),
            "halves until the text stands alone",
            "partial",
            {REJECTED_FILE: "refused (400)"},
            requests=(17, 17),
        ),
        Case(
            "one text in a batch of 256 that breaks the server (500)",
            fault_scenario(FaultScenario(500, poison=REJECTED_PART)),
            "retries until the deadline, asks with one plain word, then halves with a tenth of the deadline",
            "partial",
            {REJECTED_FILE: "the server failed (500)"},
            requests=(20, 120),
            settings={"deadline": 2.0},
        ),
        Case(
            "quota spent",
            fault_scenario(NO_QUOTA),
            "ends at once",
            "failed",
            error="the quota is spent: add credit or change the key",
        ),
        Case(
            "a key that is refused",
            lambda server: setattr(server, "key", "sk-another"),
            "ends at once",
            "failed",
            error="the key was refused (401): check OPENAI_API_KEY",
            requests=(0, 0),
        ),
        Case(
            "an unknown model",
            lambda _: None,
            "ends at once",
            "failed",
            error="'no-such-model' is not known to the server (404)",
            settings={"model": "no-such-model"},
        ),
        Case(
            f"down for {down:g} s",
            lambda server: server.down(down),
            "exponential backoff with jitter",
            requests=(1, 1),
            settings={"deadline": 300.0},
        ),
    ]


def observe(case: Case, server: FakeOpenAI, conninfo: str, folder: Path) -> Observed:
    """A first sync of a small folder against the server in its fault scenario."""
    folder.mkdir()
    for number in range(FILES):
        parts = (f"# Part {number}.{part} \n\n{_sentences(number, part)}\n" for part in range(SECTIONS))
        (folder / f"{number}.md").write_text("\n".join(parts))
    embedding = {
        "provider": "openai",
        "model": "tiny-embedding",
        "dimensions": 64,
        "timeout": 5.0,
        "deadline": 30.0,
        **case.settings,
    }
    settings = load_settings(
        database_url=conninfo,
        openai_api_key=server.key,
        openai_base_url=server.url,
        embedding=embedding,
        chunking={"tokens": 96, "overlap": 0},
    )
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(folder), name="pages")
    case.prepare(server)
    began = time.monotonic()
    try:
        report = run_sync(settings, conninfo, [source], Options())
    except FailedError as error:
        report = error.report
    seconds = time.monotonic() - began
    with connect(conninfo) as connection:
        (stored,) = connection.execute("select count(*) from chunks").fetchone() or (0,)
    given = Counter(text for text in server.answered if text != PROBE)
    return Observed(
        report,
        {problem.path: problem.reason for problem in report.problems},
        len(server.requests),
        sum(given.values()) - len(given),
        stored,
        seconds,
    )


def _sentences(number: int, part: int) -> str:
    return " ".join(f"It is told in sentence {n} of {number}.{part} what there is to tell." for n in range(4))
