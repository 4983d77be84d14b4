"""A labelling run: stages in order through `materialize`, each recorded. Prefect tasks call it; so can a notebook."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace

from fractal_core.config import RunConfig
from fractal_core.errors import FractalError
from fractal_core.pipeline import STAGE_NAMES, stage_named
from fractal_core.planning import StagePlan, stale_reasons
from fractal_core.publish.placing import place_export
from fractal_core.store.artefact import Artefact
from fractal_core.store.failures import storage_error
from fractal_core.store.materialize import materialize
from fractal_core.store.runs import RunRecord, StageRecord, alive, finished, list_runs, new_run, save_run
from fractal_core.store.stage import Runtime
from fractal_core.store.workspace import Workspace


class LabellingRun:
    """One run over one configuration. `execute` a stage at a time, in order; leave it as a context manager."""

    def __init__(
        self,
        workspace: Workspace,
        config: RunConfig,
        runtime: Runtime,
        *,
        config_path: str = "",
        force: Collection[str] = (),
    ) -> None:
        """Start a run.

        Args:
            workspace: where artefacts and the record go.
            config: what to run.
            runtime: how to compute.
            config_path: where the configuration came from, for the record.
            force: stages to compute even if they are current.
        """
        self.workspace = workspace
        self.config = config
        self.runtime = runtime
        self.force = frozenset(stage_named(name).name for name in force)
        self.artefacts: dict[str, Artefact] = {}
        self.record = new_run(config_path, config.model_dump(mode="json"))
        self._before = list_runs(workspace)
        self._life = ExitStack()
        self.on_stage: Callable[[StageRecord], None] = lambda record: None

    def __enter__(self) -> LabellingRun:
        """Record the run as running; raises StoreError if that cannot be written."""
        try:
            with ExitStack() as stack:
                stack.enter_context(alive(self.workspace, self.record))
                save_run(self.workspace, self.record)
                self._life = stack.pop_all()
        except OSError as error:
            raise storage_error("The run could not be started", error, self.workspace.root) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Record how the run ended; raises StoreError if that cannot be written and nothing worse has happened."""
        if error is None:
            self.record = finished(self.record, "completed")
        elif isinstance(error, FractalError):
            self.record = finished(self.record, "failed", str(error))
        elif isinstance(error, Exception):
            self.record = finished(self.record, "failed", "".join(traceback.format_exception_only(error)).strip())
        else:
            self.record = finished(self.record, "interrupted", f"stopped by {type(error).__name__}")
        with self._life:
            try:
                save_run(self.workspace, self.record)
            except OSError as fault:
                # The run reads as interrupted from now on, since it no longer lives. What stopped it is more to say.
                if error is None:
                    doing = "All stages are kept, but the end of the run could not be recorded"
                    raise storage_error(doing, fault, self.workspace.root) from fault

    def note_flow_run(self, flow_run_id: str | None) -> None:
        """Record which Prefect flow run this is, so that a later run can settle it if this process is killed."""
        self._save(replace(self.record, flow_run_id=flow_run_id))

    def _save(self, record: RunRecord) -> None:
        self.record = record
        try:
            save_run(self.workspace, record)
        except OSError as error:
            raise storage_error("The run's record could not be written", error, self.workspace.root) from error

    def execute(self, name: str) -> StageRecord:
        """Reuse or compute one stage and record it.

        Raises:
            FractalError: what the stage raises for the user.
        """
        stage = stage_named(name)
        upstream = {origin: self.artefacts[origin] for origin in stage.upstream}
        outcome = materialize(
            self.workspace,
            stage,
            self.config,
            upstream,
            self.runtime,
            explain=lambda recipe: "; ".join(stale_reasons(self.workspace, recipe, self._before)),
            force=name in self.force,
        )
        self.artefacts[name] = outcome.artefact
        if name == "export":
            place_export(outcome.artefact, self.config)
        record = _record(outcome.artefact, reused=outcome.reused, reason=outcome.reason, seconds=outcome.seconds)
        self._save(replace(self.record, stages=(*self.record.stages, record)))
        self.on_stage(record)
        return record


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
    """
    artefacts = {step.stage: step.artefact for step in plan if step.artefact is not None}
    wanted = {name: artefact.fingerprint for name, artefact in artefacts.items()}
    if "export" in artefacts:
        place_export(artefacts["export"], config)
    stages = tuple(
        _record(artefacts[name], reused=True, reason=(reasons or {}).get(name, "unchanged"), seconds=0.0)
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


def _record(artefact: Artefact, *, reused: bool, reason: str, seconds: float) -> StageRecord:
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
    )
