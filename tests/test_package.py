"""What is installed: one import name, with all that it needs; no folder that it is called in gets in its way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q", "-w", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_owns_one_name_and_has_all_that_stands_in_the_folders(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"pgfolio"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    folders = ("config/", "schema/", "flows/", "query_api/")
    tracked = {f"pgfolio/{file}" for file in listed.stdout.splitlines() if file.startswith(folders)}
    assert tracked - names == set()
    assert {"pgfolio/prefect.yaml", "pgfolio/__init__.py", "pgfolio/__main__.py"} <= names


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder of documents in which modules lie that have the names of ours, and of the standard library's."""
    for name in ("config", "schema", "flows", "query_api", "json", "logging", "yaml", "click", "psycopg"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported from the folder of documents')\n")
    for name in ("schema", "flows", "query_api", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "raise RuntimeError('imported from the folder of documents')\n"
        )
    (tmp_path / "bread.md").write_text("# Bread\n\nSourdough bread needs flour, water, salt and time.\n")
    return tmp_path


def run(
    wheel: Path, folder: Path, conninfo: str, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    unpacked = wheel.parent / "unpacked"
    if not unpacked.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    program = (
        "import sys, pgfolio; assert pgfolio.__file__.startswith(sys.argv.pop(1)), pgfolio.__file__\n"
        "from pgfolio.flows.cli.commands import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", program, str(unpacked), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(unpacked), "PGFOLIO_DATABASE_URL": conninfo, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
def test_every_command_works_in_a_folder_with_modules_of_the_same_names(
    wheel: Path, crowded: Path, conninfo: str
) -> None:
    synced = run(wheel, crowded, conninfo, ["sync", ".", "--json"])
    assert (synced.returncode, synced.stderr) == (0, "")
    assert json.loads(synced.stdout)["documents"]["added"] == 14
    for arguments in (
        ["search", "what does bread need", "--json"],
        ["ask", "what does bread need"],
        ["status", "--json"],
        ["verify"],
        ["migrate"],
        ["keys", "list"],
        ["reembed", "--dimensions", "128", "--plan"],
        ["deploy", "--write", "prefect.yaml"],
        ["serve", "--help"],
        ["up", "--help"],
        ["eval", "--help"],
    ):
        done = run(wheel, crowded, conninfo, arguments)
        assert (done.returncode, "Error" in done.stderr) == (0, False), (arguments, done.stderr)
    assert "bread.md" in run(wheel, crowded, conninfo, ["search", "what does bread need", "--json"]).stdout


def test_the_deployments_that_ship_are_written_once(wheel: Path, tmp_path: Path, conninfo: str) -> None:
    first = run(wheel, tmp_path, conninfo, ["deploy", "--write", "mine.yaml"])
    again = run(wheel, tmp_path, conninfo, ["deploy", "--write", "mine.yaml"])
    assert (first.returncode, again.returncode) == (0, 2)
    assert (tmp_path / "mine.yaml").read_text() == (ROOT / "prefect.yaml").read_text()
    assert "mine.yaml is there already" in again.stderr


def test_deploying_without_a_prefect_server_says_what_to_do(
    wheel: Path, tmp_path: Path, conninfo: str
) -> None:
    done = run(wheel, tmp_path, conninfo, ["deploy"])
    assert done.returncode == 2
    assert "PREFECT_API_URL" in done.stderr
