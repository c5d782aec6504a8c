"""A picture of what was measured: every point is on it, wherever recall begins."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from base64 import b64decode

import pytest

from pgfolio.flows.index.tuning import Tuning
from pgfolio.flows.orchestration.recall_picture import HEIGHT, WIDTH, recall_picture
from pgfolio.schema.vectors.tuning import Measurement, Parameters

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "recalls", [(0.7, 0.9, 0.99), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)], ids=["rising", "nothing", "everything"]
)
def test_every_measurement_is_a_point_within_the_picture(recalls: tuple[float, ...]) -> None:
    """Two pairs of parameters could not be put in order."""
    measured = [
        Measurement(parameters, ef_search, recall, 0.3, 5000, sampled=parameters.m > 16)
        for parameters in (Parameters(24, 200), Parameters(16, 64))
        for ef_search, recall in zip((10, 40, 160), recalls, strict=True)
    ]
    tuning = Tuning(0.98, measured, Parameters(16, 64), 160, recalls[-1])
    kind, _, picture = recall_picture(tuning).partition(",")
    assert kind == "data:image/svg+xml;base64"
    drawn = ET.fromstring(b64decode(picture))  # noqa: S314 -- our own
    points = [circle for circle in drawn.iter(f"{SVG}circle") if circle.get("fill") != "none"]
    assert len(points) == len(measured)
    assert all(
        0 <= float(point.get("cx", -1)) <= WIDTH and 0 <= float(point.get("cy", -1)) <= HEIGHT
        for point in points
    )
    assert len([circle for circle in drawn.iter(f"{SVG}circle") if circle.get("fill") == "none"]) == 1


def test_one_measurement_is_a_picture_too() -> None:
    alone = Measurement(Parameters(16, 64), 40, 0.99, 0.3, 5000, sampled=False)
    assert recall_picture(Tuning(0.98, [alone], alone.parameters, 40, 0.99)).startswith("data:")
