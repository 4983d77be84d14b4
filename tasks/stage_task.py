"""From a stage to a Prefect task: its name, what the UI shows of it, and no caching, which is the store's business."""

from __future__ import annotations

import errno
from typing import Any

from prefect import Task, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stage_named
from fractal_core.store.runs import StageRecord

# Faults of a file system (a network share, most often) that may be gone a moment later. Nothing else is worth a retry.
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.ENETUNREACH, errno.EHOSTUNREACH}


def stage_task(name: str, *, retries: int = 0) -> Task[[LabellingRun], Any]:
    """Return the Prefect task that executes a stage; `retries` only for stages that touch files of the user."""

    @task(
        name=name,
        description=stage_named(name).summary,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=1,
        retry_condition_fn=_is_passing,
    )
    def execute(run: LabellingRun) -> State[StageRecord]:
        before = run.record.stages
        record = run.execute(name)
        # Earlier stages are among them if they were found damaged and computed again.
        for new in (stage for stage in run.record.stages if stage not in before):
            create_table_artifact(
                key=f"stage-{new.stage}", table=[_artifact_row(new)], description=f"Stage {new.stage} in task {name}"
            )
        return Completed(message=_message(record), data=record)

    return execute


def _is_passing(task: object, task_run: object, state: State[Any]) -> bool:
    del task, task_run
    error = state.result(raise_on_failure=False)
    while isinstance(error, BaseException):
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__
    return False


def _message(record: StageRecord) -> str:
    rows = ", ".join(f"{count:,} {table}" for table, count in record.rows_out.items())
    verb = "reused" if record.reused else "computed"
    return f"{verb} in {record.seconds:.1f} s: {rows}" if rows else f"{verb} in {record.seconds:.1f} s"


def _artifact_row(record: StageRecord) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "reused": record.reused,
        "reason": record.reason,
        "seconds": record.seconds,
        "rows in": record.rows_in,
        **{f"{table} rows": count for table, count in record.rows_out.items()},
        "notes": "; ".join(record.notes),
        "fingerprint": record.fingerprint,
    }
