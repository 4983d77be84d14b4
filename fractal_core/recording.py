"""What a run records of its stages, and the record of a run in which nothing has to be computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from fractal_core.config import RunConfig
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import StagePlan
from fractal_core.publish.placing import place_export
from fractal_core.store.artefact import Artefact
from fractal_core.store.failures import storage_error
from fractal_core.store.runs import RunRecord, StageRecord, finished, list_runs, new_run, save_run
from fractal_core.store.workspace import Workspace


def stage_record(artefact: Artefact, *, reused: bool, reason: str, seconds: float) -> StageRecord:
    """Return what is recorded of a stage that was computed or reused, in so many seconds."""
    return StageRecord(
        stage=artefact.stage,
        fingerprint=artefact.fingerprint,
        reused=reused,
        reason=reason,
        seconds=round(seconds, 3),
        rows_in=artefact.manifest.rows_in,
        rows_out=artefact.rows_out,
        notes=artefact.manifest.notes,
        rows_computed=0 if reused else sum(artefact.rows_out.values()) - artefact.manifest.rows_reused,
        figures=artefact.manifest.figures,
    )


def reuse_all(
    workspace: Workspace,
    config: RunConfig,
    plan: Collection[StagePlan],
    config_path: str,
    reasons: Mapping[str, str] | None = None,
) -> RunRecord:
    """Return the record of a run in which nothing has to be computed.

    The newest completed run is returned if it is just this one; otherwise (a change was reverted, say) a run is
    recorded, so that "newest" in SQL means what was asked for last.

    Args:
        workspace: where artefacts and records are.
        config: what to run.
        plan: every stage with its artefact.
        config_path: where the configuration came from, for the record.
        reasons: stage -> why it is reused, if there is more to say than that it is unchanged.

    Raises:
        StoreError: if the run cannot be recorded.
        DamagedArtefactError: if what is to be copied out is damaged.
    """
    artefacts = {step.stage: step.artefact for step in plan if step.artefact is not None}
    wanted = {name: artefact.fingerprint for name, artefact in artefacts.items()}
    if "export" in artefacts:
        place_export(artefacts["export"], config)
    stages = tuple(
        stage_record(artefacts[name], reused=True, reason=(reasons or {}).get(name, "unchanged"), seconds=0.0)
        for name in STAGE_NAMES
        if name in artefacts
    )
    newest = next((run for run in list_runs(workspace) if run.state == "completed"), None)
    if newest is not None and newest.fingerprints() == wanted:
        return replace(newest, stages=stages)
    run = finished(replace(new_run(config_path, config.model_dump(mode="json")), stages=stages), "completed")
    try:
        save_run(workspace, run)
    except OSError as error:
        doing = "Nothing is stale, but the run could not be recorded"
        raise storage_error(doing, error, workspace.root) from error
    return run
