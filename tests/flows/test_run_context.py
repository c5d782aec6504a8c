"""How a run's row ends, whatever ended the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import Options
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings


class SignalError(BaseException):
    """As Prefect makes one of SIGTERM: no Exception, and without a word."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, SignalError])
def test_a_run_that_was_stopped_is_said_to_be_interrupted(
    new_settings: Callable[..., Settings], conninfo: str, error: type[BaseException]
) -> None:
    """Of a cancelled flow run it said `TerminationSignal`."""
    run = RunContext(new_settings(), conninfo, Options())
    with pytest.raises(error), run.recorded("sync"):
        raise error
    with connect(conninfo) as connection:
        status, said = connection.execute("select status, error from runs").fetchone() or ("", "")
    assert (status, said.partition(";")[0]) == ("failed", "interrupted")
