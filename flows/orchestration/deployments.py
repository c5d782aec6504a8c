"""`python -m pgfolio.flows.orchestration.deployments`: makes the deployments that ship with the package, one of each
source, their work pool and the automations on the Prefect server of the environment. Started by `pgfolio deploy`.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.schedules import construct_schedule
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import load_flow_from_entrypoint
from prefect.types.entrypoint import EntrypointType

from pgfolio.flows.orchestration.automations import NoSuchBlockError, apply_automations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect.client.orchestration import SyncPrefectClient

SHIPPED: Final = files("pgfolio") / "prefect.yaml"
OF_ONE_SOURCE: Final = "one-source"
"""The tag of deployments that this module made of sources, and may take away with them."""


def shipped_deployments() -> list[dict[str, Any]]:
    """As prefect.yaml has them."""
    deployments: list[dict[str, Any]] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["deployments"]
    return deployments


def source_deployment(all_sources: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The deployment that syncs one source, made of the one that syncs all. It has no schedule but what somebody
    gives it on the server, which is left as it is."""
    return {
        **all_sources,
        "name": f"source-{name}",
        "description": f"Brings what is stored in line with the source {name}.",
        "tags": [*all_sources["tags"], OF_ONE_SOURCE],
        "parameters": {"sources": [name]},
        "schedules": [],
    }


def apply_all(source_names: Sequence[str] | None, notify: str | None) -> list[str]:
    """The names of what was deployed; deployments of sources that are gone are taken away, and with None for the
    sources all of these are left alone. `notify`: a notification block, as in `slack-webhook/ops`. Raises what
    Prefect raises."""
    shipped = shipped_deployments()
    scheduled = next(one for one in shipped if one["name"] == "scheduled")
    definitions = [*shipped, *(source_deployment(scheduled, name) for name in source_names or ())]
    with get_client(sync_client=True) as client:
        for pool in {one["work_pool"]["name"] for one in shipped}:
            _ensure_pool(client, pool)
        made = [_apply(definition) for definition in definitions]
        if source_names is not None:
            _remove_gone(client, {one["name"] for one in definitions})
        apply_automations(client, notify)
    return made


def _ensure_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return


def _apply(definition: Mapping[str, Any]) -> str:
    """By the flow's module, which needs no code from anywhere: by its file, each run would first copy the folder in
    which this one was deployed."""
    schedules = [construct_schedule(interval=one["interval"]) for one in definition["schedules"]]
    flow: Any = load_flow_from_entrypoint(definition["entrypoint"])
    deployment = flow.to_deployment(
        definition["name"],
        entrypoint_type=EntrypointType.MODULE_PATH,
        description=definition["description"],
        tags=definition["tags"],
        parameters=definition["parameters"],
        schedules=schedules or None,
        concurrency_limit=definition["concurrency_limit"],
        work_pool_name=definition["work_pool"]["name"],
        job_variables=definition["work_pool"]["job_variables"],
    )
    if not schedules:  # an empty list would take away those that somebody gave it on the server
        deployment.model_fields_set.discard("schedules")
    deployment.apply()
    return f"{deployment.flow_name}/{deployment.name}"


def _remove_gone(client: SyncPrefectClient, names: set[str]) -> None:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=["pgfolio", OF_ONE_SOURCE]))
    for deployment in client.read_deployments(deployment_filter=ours):
        if deployment.name not in names:
            client.delete_deployment(deployment.id)


if __name__ == "__main__":
    arguments = json.load(sys.stdin)
    try:
        json.dump(apply_all(arguments["sources"], arguments["notify"]), sys.stdout)
    except NoSuchBlockError as error:
        sys.exit(str(error))
