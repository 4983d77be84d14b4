"""What a killed run leaves in Prefect's database: a flow run that would be shown as running for ever."""

from __future__ import annotations

from uuid import UUID


def settle_flow_runs(flow_run_ids: list[str]) -> None:
    """Mark flow runs of dead processes as crashed."""
    if not flow_run_ids:
        return
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        for flow_run_id in flow_run_ids:
            try:
                state = client.read_flow_run(UUID(flow_run_id)).state
                if state is not None and not state.is_final():
                    client.set_flow_run_state(UUID(flow_run_id), Crashed(message="its process was killed"), force=True)
            except ObjectNotFound:
                continue
