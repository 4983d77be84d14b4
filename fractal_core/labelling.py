"""A labelling run: stages in order through `materialize`, each recorded. Prefect tasks call it; so can a notebook."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace

from fractal_core.config import RunConfig
from fractal_core.errors import FractalError, StoreError
from fractal_core.pipeline import STAGE_NAMES, stage_named
from fractal_core.planning import own_first, stale_reasons
from fractal_core.publish.placing import place_export
from fractal_core.recording import stage_record
from fractal_core.store.artefact import Artefact, DamagedArtefactError
from fractal_core.store.failures import storage_error
from fractal_core.store.materialize import materialize
from fractal_core.store.runs import RunRecord, StageRecord, alive, finished, list_runs, new_run, save_run
from fractal_core.store.stage import Runtime
from fractal_core.store.workspace import Workspace

# Whoever finds the same result damaged more often has a disk or memory that cannot be trusted.
_MOST_REPAIRS = 3


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
        self._before = own_first(list_runs(workspace), config_path)
        self._repairs: Counter[str] = Counter()
        self._told: dict[str, StageRecord] = {}
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

        If a result of an earlier stage is found damaged meanwhile, that stage is computed again and recorded as such,
        then those after it whose inputs are not what they were (on a CPU none), then this one.

        Raises:
            FractalError: what the stage raises for the user; StoreError if a result is damaged again and again.
        """
        last = STAGE_NAMES.index(name)
        first = min(last, len(self.record.stages))
        while True:
            self._forget_from(first)
            try:
                for each in STAGE_NAMES[first : last + 1]:
                    self._settle(each)
                return self._told[name]
            except DamagedArtefactError as error:
                self._count_repair(error)
                first = STAGE_NAMES.index(error.origin)

    def _forget_from(self, first: int) -> None:
        """Take stages from the record: none of the artefacts that they may come to now is collected then."""
        kept = tuple(record for record in self.record.stages if STAGE_NAMES.index(record.stage) < first)
        if kept != self.record.stages:
            self._save(replace(self.record, stages=kept))

    def _count_repair(self, error: DamagedArtefactError) -> None:
        self._repairs[error.origin] += 1
        if self._repairs[error.origin] > _MOST_REPAIRS:
            raise StoreError(
                f"Stage {error.origin} was computed again {_MOST_REPAIRS} times in this run, and still {error.damage}; "
                "check the disk and the memory of this machine, then run again."
            ) from error
        self.runtime.note(f"{error.damage}: withdrawn, and computed again where this run needs it")

    def _settle(self, name: str) -> None:
        """Reuse or compute one stage, given those before it, and record it."""
        stage = stage_named(name)
        upstream = {origin: self.artefacts[origin] for origin in stage.upstream}
        outcome = materialize(
            self.workspace,
            stage,
            self.config,
            upstream,
            self.runtime,
            explain=lambda recipe: "; ".join(stale_reasons(self.workspace, recipe, self._before)),
            # What was computed by force in this run and then damaged is computed again because of that.
            force=name in self.force and name not in self.artefacts,
        )
        self.artefacts[name] = outcome.artefact
        if name == "export":
            place_export(outcome.artefact, self.config)
        before = self._told.get(name)
        record = stage_record(outcome.artefact, reused=outcome.reused, reason=outcome.reason, seconds=outcome.seconds)
        if before is not None and record.reused and record.fingerprint == before.fingerprint:
            record = before
        elif before is not None and not before.reused:
            record = replace(record, reason=f"{before.reason}; {record.reason}")
        self._told[name] = record
        self._save(replace(self.record, stages=(*self.record.stages, record)))
        if record is not before:
            self.on_stage(record)
