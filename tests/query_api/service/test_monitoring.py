"""What Prometheus scrapes of runs, sources and quotas, and that rules and dashboard ask for nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from psycopg.types.json import Jsonb

from pgfolio.config.models.rate_limit_headers import rate_limits
from pgfolio.flows.embedding.rate_limit import RateLimiter, SharedState, WindowLimits
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import heartbeats, runs
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_operations import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from pgfolio.config.settings import Settings

DEPLOY = Path(__file__).resolve().parents[3] / "config/deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
NAME = re.compile(r"\bpgfolio_\w+")
OF_WHAT_IS_REFUSED = {"pgfolio_refused_total"}
OF_A_REPLICA = {"pgfolio_replica_lag_seconds", "pgfolio_replica_follows"}
"""Scraped of a real one in test_replica.py."""


@pytest.fixture
def scraped(settings: Settings, conninfo: str) -> Iterator[httpx.Client]:
    """An API on a database in which everything happened once."""
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        for status, tokens in (("complete", 100), ("partial", 20), ("failed", 3), ("complete", 1000)):
            number = runs.start(connection, "sync", "command")
            report = {"tokens": tokens, "cost_usd": tokens / 1000, "documents": {"added": 7, "failed": 1}}
            runs.finish(connection, number, status, report)  # type: ignore[arg-type]
        runs.start(connection, "reembed", "command")
        connection.execute(
            "update sources set synced_at = now(), held = %s where name = 'manual'",
            [Jsonb({"count": 12, "paths": [], "reason": "gone"})],
        )
        connection.execute(
            "insert into index_measurements (generation_id, m, ef_construction, ef_search, recall, p50_ms, vectors, "
            "sampled) select id, 16, 128, 200, 0.97, 1, 7, false from generations"
        )
        heartbeats.beat(connection, "listener")
        heartbeats.beat(connection, "schedule")
    report_quota(conninfo, remaining=750)
    with running_api(settings, conninfo) as client:
        client.post("/search", json={"query": "task"})
        client.post("/documents", json={"title": "x", "content": "pushed text"})
        yield client


def report_quota(conninfo: str, remaining: int) -> None:
    told = {"limit": "1000", "remaining": str(remaining), "reset": "1s"}
    limits = rate_limits({f"x-ratelimit-{name}-requests": value for name, value in told.items()})
    assert limits is not None
    store = SharedState(conninfo, "tiny model 0123456789abcdef")
    RateLimiter(WindowLimits(), store).learn(limits)
    store.close()


def values(client: httpx.Client, name: str, **headers: str) -> dict[str, float]:
    scrape = numbers(client, **headers)
    return {
        " ".join(v for _, v in sorted(labels)): value for (n, labels), value in scrape.items() if n == name
    }


def test_runs_sources_and_quotas_are_told(scraped: httpx.Client) -> None:
    counted = values(scraped, "pgfolio_runs_total")
    assert len(counted) == 9, "what never was counts as 0, or the first one would be no increase"
    assert {name: number for name, number in counted.items() if number} == {
        "sync complete": 2, "sync partial": 1, "sync failed": 1,
    }  # fmt: skip
    tokens = values(scraped, "pgfolio_run_tokens_total")
    assert [tokens[f"sync {status}"] for status in ("complete", "partial", "failed")] == [1100, 20, 3]
    assert values(scraped, "pgfolio_run_cost_usd_total")["sync complete"] == pytest.approx(1.1)
    assert set(values(scraped, "pgfolio_run_duration_seconds")) == {
        "sync complete",
        "sync partial",
        "sync failed",
    }
    ended = values(scraped, "pgfolio_run_ended_timestamp_seconds")
    assert ended["sync complete"] == pytest.approx(time.time(), abs=60)
    assert values(scraped, "pgfolio_last_sync_documents") == {"added": 7, "failed": 1}
    assert values(scraped, "pgfolio_source_held_removals")["manual"] == 12
    assert values(scraped, "pgfolio_source_pending_pushes") == {"kitchen": 0, "manual": 0, "pushed": 1}
    assert 0 < values(scraped, "pgfolio_source_pending_age_seconds")["pushed"] < 60
    assert set(values(scraped, "pgfolio_heartbeat_age_seconds")) == {"listener", "schedule"}
    assert values(scraped, "pgfolio_quota_remaining") == {"requests tiny model": 750}
    assert values(scraped, "pgfolio_quota_limit") == {"requests tiny model": 1000}
    assert list(values(scraped, "pgfolio_index_valid").values()) == [1]


def test_a_segment_without_an_index_is_told(scraped: httpx.Client, conninfo: str) -> None:
    with connect(conninfo) as connection:
        connection.execute("drop index vectors_1_hnsw")
    assert list(values(scraped, "pgfolio_index_valid").values()) == [0]


def test_quotas_of_two_keys_are_one_series_with_the_latest_word(scraped: httpx.Client, conninfo: str) -> None:
    with connect(conninfo) as connection:
        connection.execute(
            "insert into rate_limits (name, state, quota, quota_at) select 'tiny model fedcba9876543210', state, "
            """'{"requests": {"remaining": 1, "limit": 5}}', now() - interval '1 hour' from rate_limits"""
        )
    assert values(scraped, "pgfolio_quota_remaining") == {"requests tiny model": 750}


def test_a_key_of_one_collection_is_told_of_no_run_and_no_other_source(
    scraped: httpx.Client, conninfo: str
) -> None:
    key = {"X-API-Key": make_key(conninfo, collections=["manual"])}
    deadline = time.monotonic() + 10
    while scraped.get("/collections").status_code != 401 and time.monotonic() < deadline:
        time.sleep(0.1)
    names = {name for name, _ in numbers(scraped, **key)}
    assert not {name for name in names if name.startswith(("pgfolio_run", "pgfolio_last", "pgfolio_quota"))}
    assert not names & {"pgfolio_index_valid", "pgfolio_heartbeat_age_seconds"}
    assert set(values(scraped, "pgfolio_source_held_removals", **key)) == {"manual"}


def test_rules_and_dashboard_ask_for_what_there_is(scraped: httpx.Client) -> None:
    there = {name for name, _ in numbers(scraped)} | OF_WHAT_IS_REFUSED | OF_A_REPLICA
    asked = {name for query in (*QUERIES, *(rule["expr"] for rule in RULES)) for name in NAME.findall(query)}
    assert asked - there == set()


def test_every_alert_is_in_the_manual() -> None:
    manual = (DEPLOY / "README.md").read_text()
    assert {rule["alert"] for rule in RULES} - set(re.findall(r"`(Pgfolio\w+)`", manual)) == set()


def test_what_a_killed_worker_had_of_the_pool_is_forgotten(tmp_path: Path) -> None:
    code = """
import os, signal
from pgfolio.query_api.observability import metrics
child = os.fork()
if not child:
    metrics.POOL.labels("idle").set(5)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
metrics.POOL.labels("idle").set(2)
metrics._forget_killed()
registry = metrics.CollectorRegistry()
metrics.multiprocess.MultiProcessCollector(registry)
print(metrics.generate_latest(registry).decode())
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert 'pgfolio_pool_connections{state="idle"} 2.0' in done.stdout


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@promtool
@pytest.mark.parametrize(
    "arguments", [("rules", "rules.yaml"), ("config", "--syntax-only", "prometheus.yaml")]
)
def test_promtool_takes_the_files(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", "check", *arguments],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


SYNC = 'pgfolio_run_ended_timestamp_seconds{flow="sync",status='
FIRES: list[tuple[str, dict[str, str]]] = [
    ("PgfolioDown", {'up{job="pgfolio"}': "0x200"}),
    ("PgfolioSyncFailed", {SYNC + '"failed"}': "2000x200", SYNC + '"complete"}': "1000x200"}),
    ("PgfolioSyncFailed", {SYNC + '"failed"}': "2000x200"}),
    ("PgfolioSyncPartial", {SYNC + '"partial"}': "20000x200", SYNC + '"complete"}': "10000x200"}),
    ("PgfolioNoSync", {SYNC + '"complete"}': "0x200"}),
    ("PgfolioSourceStale", {'pgfolio_source_age_seconds{source="a"}': "7000x200",
                            'pgfolio_source_known_seconds{source="a",kind="folder"}': "9000x200"}),
    ("PgfolioSourceNeverSynced", {'pgfolio_source_known_seconds{source="a",kind="folder"}': "9000x200"}),
    ("PgfolioRemovalsHeld", {'pgfolio_source_held_removals{source="a"}': "3x200"}),
    ("PgfolioFilesQuarantined", {'pgfolio_source_failed_files{source="a"}': "3x200"}),
    ("PgfolioListenerSilent", {'pgfolio_heartbeat_age_seconds{process="listener"}': "100x200"}),
    ("PgfolioScheduleSilent", {'pgfolio_heartbeat_age_seconds{process="schedule"}': "9000x200"}),
    ("PgfolioPushesWait", {'pgfolio_source_pending_age_seconds{source="a"}': "900x200"}),
    ("PgfolioIndexMissing", {'pgfolio_index_valid{space="a"}': "0x200"}),
    ("PgfolioRecallLow", {'pgfolio_index_recall{space="a"}': "0.9x200"}),
    ("PgfolioQuotaLow", {'pgfolio_quota_remaining{model="m",kind="tokens"}': "10x200",
                         'pgfolio_quota_limit{model="m",kind="tokens"}': "1000x200",
                         'pgfolio_quota_age_seconds{model="m",kind="tokens"}': "10x200"}),
    ("PgfolioSpending", {'pgfolio_run_cost_usd_total{flow="sync",status="complete"}': "0+1x200"}),
    ("PgfolioErrors", {'pgfolio_requests_total{status="500"}': "0+10x200",
                       'pgfolio_requests_total{status="200"}': "0+10x200"}),
    ("PgfolioSlow", {'pgfolio_request_seconds_bucket{route="/search",le="1"}': "0x200",
                     'pgfolio_request_seconds_bucket{route="/search",le="10"}': "0+10x200",
                     'pgfolio_request_seconds_bucket{route="/search",le="+Inf"}': "0+10x200"}),
    ("PgfolioPoolExhausted", {"pgfolio_pool_waiting": "3x200"}),
    ("PgfolioReplicaLags", {"pgfolio_replica_lag_seconds": "100x200"}),
    ("PgfolioReplicaGone", {"pgfolio_replica_follows": "0x200"}),
]  # fmt: skip
QUIET_SERIES = {
    'up{job="pgfolio"}': "1x200",
    SYNC + '"failed"}': "1000x200",
    SYNC + '"complete"}': "6000+60x200",
    'pgfolio_source_age_seconds{source="pushed"}': "90000x200",
    'pgfolio_source_known_seconds{source="pushed",kind="pushed"}': "90000x200",
    'pgfolio_source_held_removals{source="a"}': "0x200",
    'pgfolio_heartbeat_age_seconds{process="listener"}': "5x200",
    'pgfolio_index_valid{space="a"}': "1x200",
    "pgfolio_replica_lag_seconds": "3x200",
    "pgfolio_replica_follows": "1x200",
}


def firing(tmp_path: Path, series: dict[str, str], alert: str, expected: list[dict[str, Any]]) -> str:
    """What promtool says when it compares the alerts that fire after 150 minutes."""
    test = {
        "rule_files": [str(DEPLOY / "prometheus/rules.yaml")],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": value} for name, value in series.items()],
                "alert_rule_test": [{"eval_time": "150m", "alertname": alert, "exp_alerts": expected}],
            }
        ],
    }
    file = tmp_path / "rules_test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@promtool
@pytest.mark.parametrize(("alert", "series"), FIRES)
def test_each_alert_fires(tmp_path: Path, alert: str, series: dict[str, str]) -> None:
    said = firing(tmp_path, series, alert, [])
    assert "FAILED" in said
    assert f'alertname="{alert}"' in said


def test_each_alert_has_a_test_that_makes_it_fire() -> None:
    assert {alert for alert, _ in FIRES} == {rule["alert"] for rule in RULES}


@promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_no_alert_fires_where_all_is_well(tmp_path: Path, alert: str) -> None:
    assert "SUCCESS" in firing(tmp_path, QUIET_SERIES, alert, [])


@promtool
@pytest.mark.parametrize("alert", ["PgfolioSourceStale", "PgfolioSourceNeverSynced"])
@pytest.mark.parametrize("cause", ["failed_files", "held_removals"])
def test_a_source_that_is_never_whole_for_a_known_cause_is_told_by_that_alone(
    tmp_path: Path, alert: str, cause: str
) -> None:
    series = {name: value for told, named in FIRES if told == alert for name, value in named.items()}
    series[f'pgfolio_source_{cause}{{source="a"}}'] = "2x200"
    assert "SUCCESS" in firing(tmp_path, series, alert, [])
