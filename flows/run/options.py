"""What is asked of one run, how its parts are called, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeAlias, TypeVar

from pydantic import Field

from pgfolio.config import telemetry
from pgfolio.config.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.flows.run.report import Report


Result = TypeVar("Result")

MAX_APPROVED_DELETES: Final = 100_000
MAX_COST_USD: Final = 10_000.0
MAX_DIMENSIONS: Final = 4000
MIN_TARGET_RECALL: Final = 0.5

ApprovedDeletes: TypeAlias = Annotated[int, Field(ge=0, le=MAX_APPROVED_DELETES)]
MaxCost: TypeAlias = Annotated[float, Field(ge=0, le=MAX_COST_USD)]
Dimensions: TypeAlias = Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)]
TargetRecall: TypeAlias = Annotated[float, Field(ge=MIN_TARGET_RECALL, le=1)]
"""What a run may be asked for, by the command line or by whoever starts a flow run."""


BY_COMMAND: Final = "command"
"""Who started a run, where nobody else did."""


class Step(Protocol):
    """Calls one part of a flow: at once, or as a Prefect task."""

    def __call__(self, name: str, work: Callable[..., Result], /, *args: Any) -> Result: ...


def at_once(name: str, work: Callable[..., Result], /, *args: Any) -> Result:
    """The step of a run without Prefect."""
    with telemetry.span(name):
        return work(*args)


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked of one run."""

    plan_only: bool = False
    full: bool = False
    approve_deletes: int = 0
    max_cost: float | None = None
    started_by: str = BY_COMMAND
    in_background: bool = False
    """In this process alone, in small steps, and not while a sync runs."""
    batch: bool | None = None
    """Hand texts in to the model server's Batch API and wait for it; False: not even wait for what is handed in;
    None: as the settings say."""


class FailedError(UserError):
    """The run could not go on; what it had stored stays."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report
