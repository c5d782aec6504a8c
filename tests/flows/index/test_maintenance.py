"""Where vectors go is decided by what each way is predicted to cost."""

from __future__ import annotations

import pytest

from pgfolio.flows.index.maintenance import (
    BUILD_SECONDS,
    INSERT_SECONDS,
    MEASURED_AT_VECTORS,
    Costs,
    predict,
    to_merge,
)

PRIOR = Costs(INSERT_SECONDS, MEASURED_AT_VECTORS, BUILD_SECONDS, MEASURED_AT_VECTORS)


@pytest.mark.parametrize(
    ("vectors", "way"), [(1, "insert"), (100, "insert"), (5_000, "build"), (50_000, "build")]
)
def test_few_vectors_go_through_the_live_index_and_many_beside_it(vectors: int, way: str) -> None:
    assert predict(vectors, 100_000, PRIOR).way == way


def test_what_was_measured_decides() -> None:
    slow_build = Costs(INSERT_SECONDS, MEASURED_AT_VECTORS, INSERT_SECONDS * 2, MEASURED_AT_VECTORS)
    assert predict(5_000, 100_000, slow_build).way == "insert"


def test_both_predictions_are_reported() -> None:
    prediction = predict(5_000, 45_000, PRIOR).as_json()
    assert prediction["insert"] == pytest.approx(5_000 * INSERT_SECONDS)
    assert prediction["build"] < prediction["insert"]
    assert (prediction["vectors"], prediction["indexed"], prediction["way"]) == (5_000, 45_000, "build")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([100_000, 10, 2_000, 3_000, 500], [1, 2, 3, 4]), ([10, 100, 90, 80, 70], [0, 1, 2, 3, 4])],
)
def test_the_largest_segment_is_left_alone_while_the_others_are_small(
    sizes: list[int], expected: list[int]
) -> None:
    assert to_merge(sizes) == expected
