"""The list of mutants fits the code as it is: what each of them breaks is there, and so are its tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.mutants import LINES, MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_breaks_stands_once_and_is_broken_into_code(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    broken = text.replace(mutant.old, mutant.new)
    assert broken != text
    if mutant.file.endswith(".py"):
        compile(broken, mutant.file, "exec")


def test_each_line_of_what_goes_wrong_elsewhere_has_a_mutant() -> None:
    assert {mutant.line for mutant in MUTANTS} == set(LINES)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.long
def test_the_tests_that_must_notice_a_mutant_are_there() -> None:
    tests = {test for mutant in MUTANTS for test in mutant.tests}
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(tests)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout[-2000:] + collected.stderr[-2000:]
