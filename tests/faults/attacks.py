"""`python -m tests.faults.attacks`, as root: what another user of the machine, or a page in a browser, can do
beside root's `pgfolio up`. Each try is a line; the last one counts those that succeeded, of which there must be none.

The attacker is the user `nobody`: tries on files, sockets and processes run as him, requests need no user at all.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTACKER = "nobody"
SECRET = "heliotrope"
PAGE = {"Origin": "https://evil.example"}
REBOUND = {"Host": "evil.example:80"}
ROUTES = (
    ("GET", "/status"),
    ("GET", "/collections"),
    ("GET", "/documents"),
    ("GET", "/documents/1"),
    ("GET", "/metrics"),
    ("GET", "/traces"),
    ("POST", "/search"),
    ("POST", "/ask"),
    ("POST", "/documents"),
    ("DELETE", "/documents/1"),
)
NAMES = ("a\u202eb", "a\nb", "", " a", "a ", "n" * 101, "a\x00b", "a\x1b[2Jb", "\u2066a", "../\n")


class Walk:
    """Counts tries by kind, and names those that succeeded."""

    def __init__(self) -> None:
        self.tries: Counter[str] = Counter()
        self.succeeded: list[str] = []

    def attempt(self, kind: str, what: str, succeeds: Callable[..., object], *arguments: Any) -> None:
        self.tries[kind] += 1
        try:
            won = bool(succeeds(*arguments))
        except (OSError, httpx.HTTPError, subprocess.SubprocessError):
            won = False
        print(f"{'SUCCEEDED' if won else 'refused  '} {kind}: {what}", flush=True)
        if won:
            self.succeeded.append(f"{kind}: {what}")


def as_attacker(*command: str) -> bool:
    """Whether a command of the attacker's ends well."""
    done = subprocess.run(
        command,
        user=ATTACKER,
        group="nogroup",
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
        timeout=20,
    )
    return done.returncode == 0


def answered(client: Any, method: str, path: str, body: object, headers: dict[str, str]) -> bool:
    response: httpx.Response = client.request(method, path, json=body, headers=headers)
    return response.is_success


def check_that_what_is_allowed_succeeds(address: str, folder: Path) -> None:
    """Else all that is refused would say nothing."""
    assert as_attacker("cat", str(folder / "bread.md"))
    with httpx.Client(base_url=address) as client:
        assert answered(client, "GET", "/status", None, {})
        assert answered(client, "POST", "/search", {"query": "bread"}, {})
        assert answered(
            client, "POST", "/documents", {"title": "x", "content": "x", "collection": "fine"}, {}
        )


def prefect(walk: Walk, url: str, secret: Path) -> None:
    """Its API, whoever asks from wherever."""
    wrong = base64.b64encode(b"pgfolio:pgfolio").decode()
    callers: dict[str, dict[str, str]] = {
        "nobody in particular": {},
        "a page": PAGE,
        "a rebound name": REBOUND,
        "a wrong password": {"Authorization": f"Basic {wrong}"},
        "an empty password": {"Authorization": "Basic "},
        "a bearer": {"Authorization": "Bearer x"},
    }
    run = {"parameters": {"sources": [str(secret)], "approve_deletes": 1_000_000}}
    with httpx.Client(base_url=url, timeout=10) as client:
        for who, headers in callers.items():
            for method, path, body in (
                ("POST", "/deployments/filter", {}),
                ("POST", "/flow_runs/filter", {}),
                ("POST", "/flow_runs/", run),
                ("GET", "/admin/settings", None),
            ):
                walk.attempt(
                    "prefect", f"{method} {path} as {who}",
                    answered, client, method, path, body, headers,
                )  # fmt: skip
        asked = {**PAGE, "Access-Control-Request-Method": "POST"}
        allowed = "access-control-allow-origin"
        walk.attempt(
            "cross origin", "a preflight of a page at Prefect",
            lambda: client.options("/flow_runs/", headers=asked).headers.get(allowed) in {"*", PAGE["Origin"]},
        )  # fmt: skip


def api(walk: Walk, address: str, *, keys: bool) -> None:
    """Our API with keys: without one, with a wrong one. Without keys: for pages and rebound names."""
    callers: dict[str, dict[str, str]] = {"a page": PAGE, "a rebound name": REBOUND}
    if keys:
        callers |= {"nobody": {}, "a wrong key": {"Authorization": "Bearer pgf_wrong"}}
    kind = "api with keys" if keys else "api without keys"
    with httpx.Client(base_url=address, timeout=10) as client:
        for who, headers in callers.items():
            for method, path in ROUTES:
                body: dict[str, Any] | None = None
                if method == "POST":
                    body = {"title": "x", "content": "x"} if path == "/documents" else {"query": SECRET}
                    body = {"question": SECRET} if path == "/ask" else body
                walk.attempt(
                    kind, f"{method} {path} as {who}",
                    answered, client, method, path, body, headers,
                )  # fmt: skip


def names(walk: Walk, address: str) -> None:
    for name in NAMES:
        body = {"title": "x", "content": "x", "collection": name}
        walk.attempt(
            "names",
            f"a push into {name!r}",
            answered,
            httpx,
            "POST",
            f"{address}/documents",
            body,
            {},
        )


def files(walk: Walk, home: Path) -> None:
    """What the home has, read by another user."""
    for what in (
        "",
        "prefect.json",
        "logs",
        "logs/prefect.log",
        "prefect/prefect.db",
        "postgres",
        "postgres/log",
        "tmp",
        "users.lock",
    ):
        walk.attempt(
            "files",
            f"reading {what or 'the home'}",
            as_attacker,
            "ls" if (home / what).is_dir() else "cat",
            str(home / what),
        )
    for what in ("x", "prefect.json", "postgres/x", "logs/x"):
        walk.attempt("files", f"writing {what}", as_attacker, "touch", str(home / what))


def processes(walk: Walk, parent: psutil.Process, home: Path) -> None:
    for child in (parent, *parent.children(recursive=True)):
        name = " ".join(child.cmdline()[-2:])[-50:]
        walk.attempt("processes", f"a signal to {name}", as_attacker, "kill", "-0", str(child.pid))
        walk.attempt(
            "environment",
            f"reading that of {name}",
            as_attacker,
            "cat",
            f"/proc/{child.pid}/environ",
        )
    auth = json.loads((home / "prefect.json").read_text())["auth"]
    listed = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    walk.attempt("environment", "the password in a list of processes", lambda: auth in listed)


def postgres(walk: Walk, home: Path) -> None:
    walk.attempt(
        "postgres", "its socket", as_attacker, "test", "-w", str(home / "postgres" / ".s.PGSQL.5432")
    )
    for port in (5432, 5433):
        walk.attempt("postgres", f"port {port}", socket.create_connection, ("127.0.0.1", port), 1)
    ours = {p.pid for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())}
    everywhere = [
        connection
        for connection in psutil.net_connections("tcp")
        if connection.status == "LISTEN"
        and connection.pid in ours
        and getattr(connection.laddr, "ip", "") not in {"127.0.0.1", "::1"}
    ]
    walk.attempt("postgres", "a socket for other machines", lambda: everywhere)


def swaps(walk: Walk, folder: Path, secret: Path, address: str, sync: Callable[[], object]) -> None:
    """As the owner of a folder that root syncs: links, pipes and devices where documents were."""
    target = secret / "codes.md"
    plants: dict[str, Callable[[Path], object]] = {
        "a link to a file": lambda p: p.symlink_to(target),
        "a link to a folder": lambda p: p.symlink_to(secret),
        "a hard path upwards": lambda p: p.symlink_to(Path("..") / ".." / target.relative_to("/")),
        "a pipe": os.mkfifo,
        "an ignore file that is a link": lambda p: p.with_name(".gitignore").symlink_to(target),
        "a socket": lambda p: socket.socket(socket.AF_UNIX).bind(str(p)),
    }
    for what, plant in plants.items():
        place = folder / f"{what.replace(' ', '_')}.md"
        plant(place)
        began = time.monotonic()
        sync()
        slow = time.monotonic() - began > 30

        def found(stuck: bool = slow) -> bool:
            answer = httpx.post(
                f"{address}/search", json={"query": f"the launch code is {SECRET}", "mode": "lexical"}
            )
            return stuck or any(SECRET in result["content"] for result in answer.json()["results"])

        walk.attempt("swaps", what, found)
        for made in (place, folder / ".gitignore"):
            made.unlink(missing_ok=True)


@contextlib.contextmanager
def up(
    environment: dict[str, str], folder: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-m", "pgfolio", "up", str(folder), "--port", "0", *arguments],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    address = ""
    for line in process.stderr:
        if "The API answers at" in line:
            address = line.split("answers at ")[1].split(";")[0].strip()
        if "Ctrl-C stops" in line:
            break
    try:
        yield process, address
    finally:
        process.terminate()
        process.wait(30)


def main() -> int:
    if os.geteuid() != 0:
        print("run it as root: it needs another user to play")
        return 2
    walk = Walk()
    room = Path(tempfile.mkdtemp(prefix="pgfolio-attacks-"))
    room.chmod(0o755)
    folder, secret, home = room / "docs", room / "secret", room / "home"
    folder.mkdir()
    secret.mkdir(mode=0o700)
    (folder / "bread.md").write_text("# Bread\n\nSourdough bread needs flour, water, salt and time.\n")
    (secret / "codes.md").write_text(f"# Codes\n\nThe launch code is {SECRET}.\n")
    shutil.chown(folder, ATTACKER)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(room),
        "PGFOLIO_HOME": str(home),
        "PYTHONPATH": ".src",
    }

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pgfolio", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    try:
        with up(environment, folder) as (process, address):
            check_that_what_is_allowed_succeeds(address, folder)
            prefect(walk, json.loads((home / "prefect.json").read_text())["url"], secret)
            api(walk, address, keys=False)
            names(walk, address)
            files(walk, home)
            processes(walk, psutil.Process(process.pid), home)
            postgres(walk, home)
            swaps(walk, folder, secret, address, partial(command, "sync", str(folder)))
        command("keys", "add")
        with up(environment, folder, "--every", "0") as (_, address):
            api(walk, address, keys=True)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    print(f"{sum(walk.tries.values())} tries of {len(walk.tries)} kinds: {dict(walk.tries)}")
    print(f"{len(walk.succeeded)} succeeded", *walk.succeeded, sep="\n")
    return bool(walk.succeeded)


if __name__ == "__main__":
    sys.exit(main())
