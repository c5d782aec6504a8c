"""What config/deploy runs, started as its user is: another one than root, with nothing to write to but its state."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "config/deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
USER = 10001
"""As the Dockerfile has it."""

AS_USER = [
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search",
]  # fmt: skip
"""May read this checkout and its interpreter wherever they are, and write nowhere but to what is its own."""

TESTED = {
    "pgfolio migrate",
    "pgfolio serve --host 0.0.0.0",
    "pgfolio serve",
    "pgfolio sync",
    "pgfolio status --check --only listener",
    "python -m pgfolio.flows.listen",
    "pgfolio deploy",
    "prefect server start --host 0.0.0.0",
    "pgfolio worker --with-healthcheck",
}
"""Commands that tests below start."""


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def pods() -> list[dict[str, Any]]:
    return [
        document["spec"]["template"]["spec"]
        for document in manifests()
        if document["kind"] in {"Deployment", "Job"}
    ]


def units() -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((DEPLOY / "systemd").iterdir())}


def commands() -> set[str]:
    """Of compose, of the pods and of the units, with those of their probes."""
    of_compose = [service["command"] for service in ours()]
    tests = [service["healthcheck"].get("test", ["CMD", "python", "-c"])[1:] for service in ours()]
    of_pods = [container["command"] for pod in pods() for container in pod["containers"]]
    probes = [
        container["livenessProbe"]["exec"]["command"]
        for pod in pods()
        for container in pod["containers"]
        if "exec" in container.get("livenessProbe", {})
    ]
    of_units = [
        shlex.split(line.removeprefix("ExecStart=/opt/pgfolio/bin/"))
        for text in units().values()
        for line in text.splitlines()
        if line.startswith("ExecStart=")
    ]
    every = (*of_compose, *tests, *of_pods, *probes, *of_units)
    return {" ".join(each) for each in every if each[:2] != ["python", "-c"]}


def ours() -> list[dict[str, Any]]:
    return [service for name, service in COMPOSE["services"].items() if name != "postgres"]


def test_every_command_is_started_by_a_test() -> None:
    assert commands() == TESTED


def test_every_service_of_compose_is_built_watched_and_comes_back() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["healthcheck"], name
        assert service["restart"] in {"unless-stopped", "on-failure"}, name
        assert service["volumes"], name
        if name != "postgres":
            assert (service["build"]["dockerfile"], service["image"], service["read_only"]) == (
                "config/deploy/Dockerfile", "pgfolio", True,
            )  # fmt: skip
    named = {
        volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]
    }
    assert {name for name in named if not name.startswith("$")} == set(COMPOSE["volumes"])


def test_every_pod_is_restricted() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsUser"] == USER
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        for container in pod["containers"]:
            security = container["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_pods_and_containers_have_the_same_settings() -> None:
    assert (DEPLOY / "kubernetes/pgfolio.toml").read_text() == (DEPLOY / "pgfolio.toml").read_text()


def test_the_image_leaves_no_build_tools_and_no_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert text.count("FROM ") == 2
    assert text.count("pip uninstall") == 2
    assert f"\nUSER {USER}:{USER}\n" in text
    assert "\nHEALTHCHECK " in text


def test_the_build_is_given_what_the_package_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == {
        "pyproject.toml", "README.md", "prefect.yaml", "config", "schema", "flows", "query_api", ".src",
    }  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            command, marks=pytest.mark.skipif(shutil.which(command[0]) is None, reason="not installed")
        )
        for command in (
            ["hadolint", "Dockerfile"],
            ["kubectl", "kustomize", "kubernetes"],
            ["promtool", "check", "rules", "prometheus/rules.yaml"],
            ["shellcheck", *(str(script) for script in sorted((DEPLOY / "machine").glob("*.sh")))],
        )
    ],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(command: list[str]) -> None:
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    programs = f"{Path(sys.executable).parent}/"
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/opt/pgfolio/bin/", programs))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "pgfolio-" in line] == []


class Machine:
    """Where the image's commands run: its user, its environment, and nothing to write to but /state."""

    def __init__(self, state: Path, documents: Path, conninfo: str) -> None:
        settings = state.parent / "pgfolio.toml"
        settings.write_text((DEPLOY / "pgfolio.toml").read_text().replace("/documents", str(documents)))
        self.state = state
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(state), "PGFOLIO_HOME": str(state), "PREFECT_HOME": str(state / "prefect"),
            "USER": "pgfolio", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1",
            "PGFOLIO_CONFIG": str(settings), "PGFOLIO_DATABASE_URL": conninfo, "TMPDIR": str(state),
            "OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "PGFOLIO_EMBEDDING__MODEL": "",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "",
        }  # fmt: skip
        self.prefix = AS_USER if os.geteuid() == 0 and shutil.which("setpriv") else []

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *shlex.split(command)],
            cwd=self.state,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def started(self, command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [*self.prefix, *shlex.split(command)],
            cwd=self.state,
            env=self.environment | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(30)


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, conninfo: str) -> Iterator[Machine]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pgfolio-deploy-") as made:  # pytest's own folder is root's alone
        folder = Path(made)
        folder.chmod(0o755)
        for name in ("state", "documents"):
            (folder / name).mkdir()
        (folder / "documents/bread.md").write_text("# Bread\n\nSourdough bread needs flour and time.\n")
        if os.geteuid() == 0:
            os.chown(folder / "state", USER, USER)
        machine = Machine(folder / "state", folder / "documents", conninfo)
        yield machine


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_user_writes_nowhere_but_to_its_state(machine: Machine) -> None:
    for place in (ROOT, machine.state.parent, Path(sys.prefix), Path("/etc")):
        assert machine.run(f"touch {place}/written").returncode, place
    assert machine.run("touch written").returncode == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answer(url: str, seconds: float = 40) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return httpx.get(url, timeout=5).status_code
        except httpx.TransportError:
            time.sleep(0.1)
    return 0


@pytest.mark.long
def test_migrate_keys_sync_and_serve_in_their_order(machine: Machine) -> None:
    assert machine.run("pgfolio migrate").returncode == 0
    added = machine.run("pgfolio keys add --name me")
    assert added.returncode == 0, added.stderr
    synced = machine.run("pgfolio sync")
    assert synced.returncode == 0, synced.stderr
    port = free_port()
    with machine.started("pgfolio serve --host 0.0.0.0", PGFOLIO_API__PORT=str(port)):
        assert answer(f"http://127.0.0.1:{port}/health/live") == 200


def test_the_listener_runs_and_its_health_check_knows(machine: Machine, conninfo: str) -> None:
    check = "pgfolio status --check --only listener"
    assert machine.run(check).returncode == 0
    with machine.started("python -m pgfolio.flows.listen"):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with connect(conninfo) as connection:
                if connection.execute("select from heartbeats").fetchone() is not None:
                    break
            time.sleep(0.1)
        assert machine.run(check).returncode == 0
    with connect(conninfo) as connection:
        connection.execute("update heartbeats set beat_at = now() - interval '5 minutes'")
    silent = machine.run(check)
    assert (silent.returncode, "is silent" in silent.stdout) == (2, True)


@pytest.mark.long
def test_prefects_server_deployments_and_worker(machine: Machine) -> None:
    port, health = free_port(), free_port()
    api = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    server = f"prefect server start --host 0.0.0.0 --port {port}"
    worker = "pgfolio worker --with-healthcheck"
    with machine.started(server, **api):
        assert answer(f"http://127.0.0.1:{port}/api/health", 90) == 200
        deployed = machine.run("pgfolio deploy", **api)
        assert deployed.returncode == 0, deployed.stderr
        with machine.started(worker, PREFECT_WORKER_WEBSERVER_PORT=str(health), **api):
            assert answer(f"http://127.0.0.1:{health}/health", 60) == 200
