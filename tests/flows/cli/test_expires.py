"""When a key ends: what `pgfolio keys add --expires` takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from pgfolio.flows.cli.keys import Moment


@pytest.mark.parametrize(
    "text",
    ["99999999d", "9" * 30 + "d", "9" * 5000, "9999-12-31T23:59Z", "9999-12-31T23:59-05:00"],
    ids=lambda text: text[:30],
)
def test_a_moment_beyond_the_calendar_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="leave --expires out for a key that never ends"):
        Moment().convert(text, None, None)


def test_an_interval_counts_from_now() -> None:
    assert abs(Moment().convert("90d", None, None) - datetime.now(UTC) - timedelta(days=90)) < timedelta(
        minutes=1
    )


def test_a_moment_far_ahead_is_taken() -> None:
    assert Moment().convert("9999-12-31", None, None) == datetime(9999, 12, 31, tzinfo=UTC)
