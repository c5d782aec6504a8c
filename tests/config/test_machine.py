"""The scripts of config/deploy/machine on the bundled Postgres, as a user who may write to their folder alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.config.test_deploy import AS_USER, DEPLOY, answer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
"""`initdb` wants a user with a name."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not all(map(shutil.which, ("setpriv", "flock", "curl"))), reason="not installed"),
]


class Machine:
    """The manual's folder, with a document and what a virtual environment has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        for file in (DEPLOY / "machine").iterdir():
            shutil.copy(file, folder)
        (folder / "venv").symlink_to(sys.prefix)
        (folder / "documents").mkdir()
        (folder / "documents/bread.md").write_text("# Bread\n\nSourdough bread needs flour and time.\n")
        with (folder / "environment").open("a") as environment:
            environment.write(f"export HOME=$PWD PGFOLIO_API__PORT={self.port}\n")
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            self.prefix = [each.replace("10001", str(NOBODY)) for each in AS_USER]
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.prefix, "sh", "-c", command],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        with self.start(command) as process:
            output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, output
        return output

    def pgfolio(self, command: str) -> str:
        return self.run(f". ./environment && {command}")

    def search(self, key: str) -> list[str]:
        found = httpx.post(
            f"http://127.0.0.1:{self.port}/search",
            json={"query": "sourdough"},
            headers={"Authorization": f"Bearer {key}"},
        )
        return [hit["path"] for hit in found.raise_for_status().json()["results"]]

    def ready(self) -> bool:
        return answer(f"http://127.0.0.1:{self.port}/health/ready") == 200


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="pgfolio-") as made:  # pytest's own folder is root's alone
        machine = Machine(Path(made))
        yield machine
        machine.run("sh stopped.sh true")


def test_it_is_backed_up_stopped_and_restored(machine: Machine) -> None:
    machine.pgfolio("pgfolio sync documents")
    key = json.loads(machine.pgfolio("pgfolio keys add --name people --scope read --json"))["key"]
    with machine.start("exec sh up.sh") as up:
        assert machine.ready()
        assert machine.run("sh up.sh") == ""  # one is running
        machine.run("sh backup.sh")
        [dump] = (machine.folder / "backups").iterdir()
        assert dump.stat().st_mode & 0o077 == 0
        (machine.folder / "backups/half").write_bytes(dump.read_bytes()[:-2000])
        machine.run(f"! sh stopped.sh sh restore.sh backups/half {machine.port}")
        assert up.wait(10) == 128 + signal.SIGTERM
    assert list(machine.folder.glob("state.[0-9]*")) == []
    assert "all well" in machine.pgfolio("pgfolio verify")
    machine.run(f"sh stopped.sh sh restore.sh backups/{dump.name} {machine.port}")
    assert len(list(machine.folder.glob("state.*"))) == 1
    assert "all well" in machine.pgfolio("pgfolio verify")
    assert "0 embedded, 0 reused" in machine.pgfolio("pgfolio sync")
    with machine.start("exec sh up.sh"):
        assert machine.ready()
        assert machine.search(key) == ["bread.md"]
        machine.run("sh stopped.sh true")
