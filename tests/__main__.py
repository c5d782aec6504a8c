"""`python -m tests` checks everything: format, lint, types, then all tests, whose summary comes last. Arguments are
pytest's: `--long` runs those too that take long, and kills and examples in full number.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("mypy",),
    (
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",  # files with few tests have the longest ones: they must not come last
    ),  # each with a Postgres of its own; most of the time is waiting
)


def main() -> int:
    """Run every check; the exit code is that of the first one that failed, tests being run all the same."""
    codes = []
    for check in CHECKS:
        print(f"== {' '.join(check)}", flush=True)
        arguments = [*check, *(sys.argv[1:] if check[0] == "pytest" else ())]
        codes.append(subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
