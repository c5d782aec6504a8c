"""The manual is true: what its READMEs name is there, and what they show runs."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import pytest

from pgfolio.config.section import Section
from pgfolio.config.settings import Settings
from pgfolio.flows.cli.commands import cli as writing_commands
from pgfolio.query_api.cli.commands import cli as reading_commands
from tests.fakes.openai_server import KEY
from tests.programs import Done, pgfolio, query_api
from tests.query_api.library import running_api
from tests.query_api.service.test_uploads import pdf

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.fakes.openai_server import FakeOpenAI

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("flows", "query_api", "schema", "config", "tests")
READMES = ("README.md", *(f"{folder}/README.md" for folder in FOLDERS))
MAX_README_BYTES = 10_000

NOT_RUN = {
    r"python3 -m venv ": "installs from the package registry",
    r"pgfolio serve": "serves until it is stopped; what is served to curl is the same API",
    r"pgfolio (deploy|worker)$": "needs a Prefect server: tests/flows/test_prefect.py has one",
    r"prefect ": "needs a Prefect server: tests/flows/test_prefect.py has one",
    r"pg_dump |pg_restore ": "PostgreSQL's own programs, which the bundled one comes without",
    r"pgfolio grants \| psql ": "tests/schema/database/test_grants.py runs what it prints",
    r"PGFOLIO_DATABASE_(DIRECT_)?URL=": "tests/faults/test_pgbouncer.py has a pooler",
    r"pgfolio index --tune$": "needs 500 vectors and more: tests/flows/index/test_tuning.py makes them",
    r"\.venv/bin/python -m (pytest|tests) ": "runs tests",
}
"""What is shown and not run here, with the reason."""

OUTSIDE = {"PGFOLIO_CONFIG", "PGFOLIO_DOCUMENTS"}
"""Variables that are no setting: the file of settings, and what the compose file asks for."""

LONG = "--long"
"""An option of pytest's here: tests/conftest.py."""

PROGRAMS = ("pgfolio", ".venv/bin/pgfolio")


class Shown(NamedTuple):
    """A line of a block, with what the block shows of its output."""

    command: str
    output: str


@functools.cache
def text(readme: str) -> str:
    return (ROOT / readme).read_text(encoding="utf-8")


def prose(readme: str) -> str:
    """Without its blocks."""
    return re.sub(r"^```.*?^```$", "", text(readme), flags=re.MULTILINE | re.DOTALL)


def spans(readme: str) -> list[str]:
    return [span.replace(r"\|", "|") for span in re.findall(r"`([^`\n]+)`", prose(readme))]


def shown(readme: str) -> list[Shown]:
    """The commands of its blocks, in order."""
    found = []
    for kind, block in re.findall(r"^```(sh|console)\n(.*?)^```$", text(readme), re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found += [Shown(re.split(r"\s+# ", line)[0], "") for line in block.splitlines()]
        else:
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append(Shown(command, output))
    return found


def without_reason(command: str) -> bool:
    return not any(re.match(start, command) for start in NOT_RUN)


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


# What is named


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(text("README.md").encode()) <= MAX_README_BYTES


@pytest.mark.parametrize("readme", READMES)
def test_every_path_is_there(readme: str) -> None:
    named = {
        span
        for span in spans(readme)
        if re.fullmatch(rf"(?:{'|'.join(FOLDERS)}|\.src|\.ci)/[\w./-]*|[\w-]+\.(?:toml|md)", span)
    }
    places = (ROOT, (ROOT / readme).parent)
    gone = {path for path in named if not any((place / path).exists() for place in places)}
    assert gone == set()


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(readme)):
        path, _, anchor = target.partition("#")
        file = ((ROOT / readme).parent / path).resolve() if path else ROOT / readme
        headings = (
            {
                slug(line.lstrip("#"))
                for line in file.read_text(encoding="utf-8").splitlines()
                if line[:1] == "#"
            }
            if anchor and file.exists()
            else set()
        )
        if not file.exists() or (anchor and anchor not in headings):
            broken.append(target)
    assert broken == []


def test_every_room_of_the_house_is_there() -> None:
    for folder, rooms in re.findall(
        r"^\| \[(\w+)\]\(\1/README\.md\) \| (.*) \|$", text("README.md"), re.MULTILINE
    ):
        named = set(re.findall(r"`([\w.]+)`", rooms))
        assert [name for name in named if not (ROOT / folder / name).exists()] == []
        if folder in ("flows", "query_api", "schema"):
            there = {path.name for path in (ROOT / folder).iterdir() if (path / "__init__.py").exists()}
            assert there - named == set()


@pytest.mark.parametrize("readme", READMES)
def test_every_module_is_there(readme: str) -> None:
    named = set(re.findall(r"(?:python -m |`)((?:pgfolio|tests)(?:\.\w+)+)", text(readme)))
    assert [module for module in named if find_spec(module) is None] == []


def test_every_variable_is_a_setting() -> None:
    known = set(OUTSIDE)
    for name, model_field in Settings.model_fields.items():
        known.add(f"PGFOLIO_{name.upper()}")
        if isinstance(model_field.annotation, type) and issubclass(model_field.annotation, Section):
            known |= {f"PGFOLIO_{name.upper()}__{key.upper()}" for key in model_field.annotation.model_fields}
    named = {name for readme in READMES for name in re.findall(r"PGFOLIO_[A-Z_]+[A-Z]", text(readme))}
    assert named - known - {"PGFOLIO_SECTION__KEY"} == set()


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(name for more in project["optional-dependencies"].values() for name in more),
    ]
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in required}
    named = set(re.findall(r"[\w-]+", text("config/README.md").lower()))
    assert {name for name in names if not name.startswith("types-")} - named == set()


# Commands


def mentioned() -> Iterator[str]:
    """Every command of ours, wherever it stands, without `pgfolio`."""
    for readme in READMES:
        for part in spans(readme):
            yield from ours(part)
        for command, _ in shown(readme):
            for part in re.split(r" && |; ", command):
                yield from ours(part)


def ours(part: str) -> Iterator[str]:
    part = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", part)
    for program in (*PROGRAMS, "python -m pgfolio.query_api"):
        if part.startswith(f"{program} "):
            yield part.removeprefix(f"{program} ")


def subcommands(group: click.Command) -> dict[str, click.Command]:
    assert isinstance(group, click.Group)
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def options(command: click.Command) -> set[str]:
    return {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {
        "--help"
    }


def found_commands(words: list[str]) -> list[click.Command]:
    """The commands that these words name, as in `keys add|list`."""
    known: dict[str, click.Command] = {**subcommands(writing_commands), **subcommands(reading_commands)}
    assert words[0] in known
    chosen = known[words[0]]
    if isinstance(chosen, click.Group) and len(words) > 1:
        return [chosen.commands[name] for name in words[1].split("|")]
    return [chosen]


@pytest.mark.parametrize("mention", sorted(set(mentioned())))
def test_every_command_and_option_is_one(mention: str) -> None:
    words = mention.replace("[", "").replace("]", "").split()
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"\"[^\"]*\"", "", mention)))
    for command in found_commands(words):
        assert given - options(command) == set()


def test_every_option_in_the_text_is_one() -> None:
    commands = [*subcommands(writing_commands).values(), *subcommands(reading_commands).values()]
    groups = [command for command in commands if isinstance(command, click.Group)]
    commands += [sub for group in groups for sub in group.commands.values()]
    known = set().union(*(options(command) for command in commands))
    named = {
        re.split(r"[ =]", span)[0] for readme in READMES for span in spans(readme) if span.startswith("--")
    }
    assert named - known == {LONG}


def test_what_the_query_side_does_is_passed_on() -> None:
    assert set(subcommands(reading_commands)) <= set(subcommands(writing_commands))


def test_every_command_is_in_the_readme() -> None:
    named = {mention.split()[0] for mention in mentioned()}
    assert set(subcommands(writing_commands)) - named == set()


def test_the_test_command_is_what_ci_runs() -> None:
    (command,) = (line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("python3"))
    assert command in {shown_line.command for shown_line in shown("README.md")}


# What is shown runs


@dataclass
class World:
    """A folder with documents `docs` in it, a database, and the API that serves it."""

    folder: Path
    environment: dict[str, str]
    client: httpx.Client
    secret: str = ""
    exported: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> Done:
        """A shell's line, up to the first command that fails."""
        done = Done(line, 0, "", "")
        for command in line.split(" && "):
            words = shlex.split(command)
            variables = {}
            while re.match(r"[A-Z_]+=", words[0]):
                name, _, variables[name] = words.pop(0).partition("=")
            environment = {**self.environment, **self.exported, **variables}
            if words[0] == "pgfolio":
                program = query_api if words[1] in subcommands(reading_commands) else pgfolio
                done = program(*words[1:], environment=environment, folder=self.folder)
            else:
                done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
            if done.returncode:
                break
        if secret := re.search(r"pgf_\S+", done.stdout):
            self.secret = secret[0]
        return done

    def export(self, assignment: str) -> None:
        name, _, value = assignment.partition("=")
        self.exported[name] = KEY if value == "..." else value

    def curl(self, command: str) -> httpx.Response:
        """The same request, to the API that is served here."""
        url, method, headers, body, parts = "", "GET", {}, None, []
        words = iter(shlex.split(command)[1:])
        for word in words:
            if word == "-s":
                continue
            if word == "--json":
                body, method = next(words), "POST"
                json.loads(body)
                headers["content-type"] = "application/json"
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value.replace("pgf_...", self.secret)
            elif word == "-F":
                name, _, value = next(words).partition("=")
                method = "POST"
                parts.append((name, self._part(value)))
            else:
                assert word[0] != "-", f"curl's {word} is not known here"
                url = re.sub(r"^(?:http://)?[\w.]+:8000", "", word)
        return self.client.request(method, url, headers=headers, content=body, files=parts or None)

    def _part(self, value: str) -> tuple[str | None, bytes | str]:
        return (value[1:], (self.folder / value[1:]).read_bytes()) if value[0] == "@" else (None, value)


@pytest.fixture
def world(tmp_path: Path, conninfo: str, settings: Settings, openai_server: FakeOpenAI) -> Iterator[World]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / ".src"),
        "HOME": str(tmp_path / "home"),
        "PGFOLIO_HOME": str(tmp_path / "state"),
        "PGFOLIO_DATABASE_URL": conninfo,
        "OPENAI_BASE_URL": openai_server.url,
        "OPENAI_API_KEY": KEY,
        "COLUMNS": "110",
    }
    folder = tmp_path / "here"
    write_documents(folder)
    with running_api(settings, conninfo) as client:
        yield World(folder, environment, client)


def write_documents(folder: Path) -> None:
    """Small, and with the paths that the manual's own have."""
    guides = "docs/v3/how-to-guides"
    pages = {
        f"{guides}/workflows/retries.mdx": "# Retries\n\n## Add jitter\n\nA failed task is retried after a delay. "
        "To add a random amount of time to retry delays, pass `retry_jitter_factor`.\n",
        f"{guides}/workflows/assets.mdx": "# Assets\n\nAn asset is what a task makes.\n",
        "docs/v3/concepts/tasks.mdx": "# Tasks\n\nA task is a function that can be retried when it fails.\n",
        "queries.jsonl": '{"query": "how do I retry a failed task", "relevant": {"v3/concepts/tasks.mdx": 1}}\n',
    }
    pages |= {
        f"{guides}/cloud/page{n}.mdx": f"# Cloud {n}\n\nWorkspace {n} has {n} members.\n" for n in range(14)
    }
    pages |= {
        f"docs/integrations/{n}.mdx": f"# Library {n}\n\nLibrary {n} stores files.\n" for n in range(101)
    }
    for path, content in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    (folder / "report.pdf").write_bytes(pdf("Rainfall was heavy this year"))
    time.sleep(0.05)  # older than the clock's grain, so that their stat is trusted


def expected_code(output: str) -> int:
    if re.search(r"^error: ", output, re.MULTILINE):
        return 1
    return 3 if re.search(r": partial$", output, re.MULTILINE) else 0


def headers(output: str) -> set[str]:
    """The first lines of its tables."""
    return {
        " ".join(line.split()) for line in re.findall(r"^[a-z]+(?: {2,}[a-z]+)+ *$", output, re.MULTILINE)
    }


def run_all(world: World, readme: str) -> int:
    """Run what it shows, in order; how many commands that were."""
    ran = 0
    for command, output in shown(readme):
        if not without_reason(command):
            continue
        ran += 1
        if command.startswith("export "):
            world.export(command.removeprefix("export "))
        elif command.startswith("curl "):
            answer = world.curl(command)
            assert answer.is_success, (command, answer.text)
        else:
            done = world.run(command)
            assert done.returncode == expected_code(output), (command, done.stdout, done.stderr)
            assert headers(output) - headers(done.stdout) == set(), command
    return ran


@contextmanager
def listening(world: World) -> Iterator[None]:
    """What makes documents of pushes, beside."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows.listen"], env=world.environment, cwd=world.folder
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_tour_runs(world: World) -> None:
    assert run_all(world, "README.md") >= 12


def test_what_flows_shows_runs(world: World) -> None:
    assert world.run("pgfolio sync docs && mv docs/integrations .").returncode == 0
    assert run_all(world, "flows/README.md") >= 8


def test_what_query_api_shows_runs(world: World) -> None:
    assert world.run("pgfolio sync docs").returncode == 0
    with listening(world):
        assert run_all(world, "query_api/README.md") >= 10


def test_the_clients_that_are_shown_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run("pgfolio sync docs").returncode == 0
    programs = re.findall(r"^```python\n(.*?)^```$", text("query_api/README.md"), re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        address = str(world.client.base_url).rstrip("/")
        exec(compile(program.replace("http://localhost:8000", address), "manual", "exec"), {})  # noqa: S102
        assert f"{address}/d/" in capsys.readouterr().out


@pytest.mark.parametrize("readme", ["schema/README.md", "config/README.md", "tests/README.md"])
def test_what_the_others_show_has_a_reason_not_to_run(readme: str) -> None:
    left = [command for command, _ in shown(readme) if without_reason(command)]
    assert [command for command in left if not command.startswith("export ")] == []


def test_every_reason_is_needed() -> None:
    commands = [command for readme in READMES for command, _ in shown(readme)]
    assert [start for start in NOT_RUN if not any(re.match(start, command) for command in commands)] == []
