"""Locks of a session, when an interrupt ends the block that has one."""

from __future__ import annotations

import time

import pytest

from pgfolio.schema.database import locks
from pgfolio.schema.database.connect import connect


def interrupted(conninfo: str) -> None:
    with connect(conninfo) as connection, locks.session_lock(connection, locks.SOURCES, 7) as is_locked:
        assert is_locked
        connection.pgconn.send_query(b"select pg_sleep(30)")
        raise KeyboardInterrupt


def test_an_interrupt_while_a_statement_is_on_its_way_stays_one_and_frees_the_lock(conninfo: str) -> None:
    """The end of the block once asked the next thing of the same connection, and failed: the interrupt became an
    error of the database."""
    with pytest.raises(KeyboardInterrupt):
        interrupted(conninfo)
    deadline = time.monotonic() + 5
    with connect(conninfo) as other:
        while time.monotonic() < deadline:
            with locks.session_lock(other, locks.SOURCES, 7) as is_locked:
                if is_locked:
                    return
            time.sleep(0.01)
    pytest.fail("the lock was not given up")
