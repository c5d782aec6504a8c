"""A sync against the model server in each fault scenario comes to what is promised for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.ingest.fault_scenarios import CHUNKS, FILES, SECTIONS, Case, cases, observe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.openai_server import FakeOpenAI


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_fault_scenario_has_its_outcome(
    case: Case, openai_server: FakeOpenAI, conninfo: str, tmp_path: Path
) -> None:
    seen = observe(case, openai_server, conninfo, tmp_path / "pages")
    assert seen.report.status == case.status
    assert case.error in seen.report.error
    assert case.error or not seen.report.error
    assert seen.failed.keys() == case.failed.keys()
    assert all(reason in seen.failed[path] for path, reason in case.failed.items())
    assert case.requests[0] <= seen.requests <= case.requests[1]
    assert seen.given_twice <= case.more_texts
    if case.error:
        assert seen.stored == 0
    else:
        assert seen.report.documents.added == FILES - len(case.failed)
        assert seen.stored == CHUNKS - SECTIONS * len(case.failed)
    if "tokens_per_minute" in case.settings:
        assert len(openai_server.admitted) == seen.requests
