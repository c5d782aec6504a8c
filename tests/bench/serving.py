"""The API as a process of its own, and a client that asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(conninfo: str, limit: int, mode: str = "vector") -> Iterator[Callable[[str], object]]:
    """Yields a function that searches over one kept connection. Raises RuntimeError if the server does not start."""
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / ".src"), "PGFOLIO_DATABASE_URL": conninfo}
    command = [sys.executable, "-m", "pgfolio.query_api", "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            if not said.startswith("listening on "):
                raise RuntimeError(f"the API did not start: {said}")
            with httpx.Client(base_url=said.split()[2].rstrip(",")) as client:

                def ask(question: str) -> object:
                    asked = {"query": question, "mode": mode, "limit": limit}
                    return client.post("/search", json=asked).raise_for_status().content

                yield ask
        finally:
            process.terminate()
