"""Pauses before a program that ended is started again."""

from __future__ import annotations

from pgfolio.flows.local.restarts import Restarts


def test_pauses_grow_up_to_a_minute_while_it_ends_again_soon() -> None:
    restarts, now, pauses = Restarts(), 1000.0, []
    for _ in range(8):
        pauses.append(restarts.ended(now))
        assert not restarts.due(now + pauses[-1] - 0.1)
        now += pauses[-1]
        assert restarts.due(now)
        assert not restarts.due(now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_after_it_ran_for_a_time_the_pause_is_short_again() -> None:
    restarts = Restarts()
    for end in (0.0, 10.0, 20.0, 400.0):
        pause = restarts.ended(end)
        restarts.due(end + pause)
    assert pause == 1
