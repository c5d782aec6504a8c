"""Automations on a Prefect server, as code: each is known by its name, and set back to what stands here."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    ResourceSpecification,
    SendNotification,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

MISSED_HEARTBEATS: Final = timedelta(seconds=90)
"""Three of those that prefect.yaml asks for."""

QUIET: Final = timedelta(hours=1)
"""Without a sync that has ended: four of the schedule's."""

ENDS: Final = frozenset(
    f"prefect.flow-run.{name}"
    for name in ("Completed", "Degraded", "Skipped", "Failed", "Crashed", "Cancelled")
)
RUN: Final = (
    "{{ flow_run.name }} ({{ flow_run.state.name }}): {{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)


class NoSuchBlockError(Exception):
    """The server has no block of that name."""


def apply_automations(client: SyncPrefectClient, notify: str | None) -> None:
    """Make them, or set them back. Without a block to notify only the one that needs none; what an earlier call made
    stays. Raises NoSuchBlockError."""
    automations = [lost_runs()]
    if notify is not None:
        block = _notification_block(client, notify)
        automations += [failed_runs(block), degraded_runs(block), no_syncs(block)]
    for automation in automations:
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation)
        else:
            client.create_automation(automation)


def _notification_block(client: SyncPrefectClient, notify: str) -> UUID:
    kind, _, name = notify.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        raise NoSuchBlockError(
            f"there is no block {notify}: make one under Blocks, then deploy again"
        ) from None


def lost_runs() -> AutomationCore:
    """A process that was killed says nothing: its run would be shown as running for ever."""
    return AutomationCore(
        name="pgfolio: a run without a heartbeat has crashed",
        description="Its process or its machine is gone. What it stored is stored; the next run goes on from there.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=_any_run(),
            match_related=_tagged("pgfolio"),
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ENDS},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=MISSED_HEARTBEATS,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message=f"no heartbeat for {MISSED_HEARTBEATS.seconds} s: the process or its machine is gone; "
                "what it stored is stored, the next run goes on from there",
            )
        ],
    )


def failed_runs(block: UUID) -> AutomationCore:
    """Each one."""
    return _notification(
        block,
        "pgfolio: notify of a failed run",
        "A run that could not go on, or whose process is gone.",
        "pgfolio: a run failed",
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
        for_each={"prefect.resource.id"},
    )


def degraded_runs(block: UUID) -> AutomationCore:
    """Not each one: a file that cannot be read makes every run of a schedule so."""
    return _notification(
        block,
        "pgfolio: notify of degraded runs",
        "Four within a day: something is left undone, and stays so. At most once a day.",
        "pgfolio: something is left undone",
        expect={"prefect.flow-run.Degraded"},
        threshold=4,
        within=timedelta(days=1),
    )


def no_syncs(block: UUID) -> AutomationCore:
    """The schedule is paused, the server was down, or no worker takes its runs."""
    return _notification(
        block,
        "pgfolio: notify when no sync ends",
        "No sync has ended for an hour: the schedule is paused, or no worker runs.",
        "pgfolio: no sync has ended for an hour",
        body="Is the schedule of sync/scheduled on, and does `pgfolio worker` run?",
        tag="sync",
        posture=Posture.Proactive,
        expect=set(ENDS),
        within=QUIET,
    )


def _notification(
    block: UUID,
    name: str,
    description: str,
    subject: str,
    *,
    body: str = RUN,
    tag: str = "pgfolio",
    **trigger: Any,
) -> AutomationCore:
    """`trigger`: what an EventTrigger over runs with this tag takes beside."""
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(match=_any_run(), match_related=_tagged(tag), **trigger),
        actions=[SendNotification(block_document_id=block, subject=subject, body=body)],
    )


def _any_run() -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})


def _tagged(tag: str) -> ResourceSpecification:
    return ResourceSpecification(
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
    )
