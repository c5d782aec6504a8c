"""The first moments of a command: Ctrl-C, and standard streams that the caller closed or that are full."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PGFOLIO = f"{sys.executable} -m pgfolio"
BEGUN = "from pgfolio.config import startup; startup.begin(); print('begun', flush=True); import time; time.sleep(60)"


def test_ctrl_c_before_anything_was_begun_is_one_line() -> None:
    """It was a traceback of some import."""
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", BEGUN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "error: interrupted; nothing was begun\n"
    assert process.returncode == 130


@pytest.mark.parametrize(
    "program", ["pgfolio.__main__", "pgfolio.flows.__main__", "pgfolio.query_api.__main__"]
)
def test_a_program_begins_before_it_imports(program: str) -> None:
    shown = f"import sys, {program}; print([m for m in ('click', 'pydantic', 'psycopg') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", shown], text=True) == "[]\n"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("--help >&-", 0, ""),
        ("--help >&- 2>&- <&-", 0, ""),
        ("--help | head -c 1 >&2", 0, "U"),
        pytest.param(
            "--help > /dev/full",
            1,
            "error: cannot write the output: No space left on device\n",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full"),
        ),
    ],
)
def test_an_output_that_is_not_there_leaves_no_traceback(redirected: str, code: int, said: str) -> None:
    done = shell(f"{PGFOLIO} {redirected}")
    assert (done.returncode, done.stderr) == (code, said)
