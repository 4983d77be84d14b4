"""Run records as tables: `runs` and `stages`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from fractal_core.store.runs import RunRecord, seconds_of
from fractal_core.tables import RUNS as RUNS_TABLE
from fractal_core.tables import STAGES as STAGES_TABLE

RUNS = RUNS_TABLE.name
STAGES = STAGES_TABLE.name


def runs_table(runs: Sequence[RunRecord]) -> pa.Table:
    """Return table `runs`, a row a run."""
    rows = [
        {
            "run_id": run.run_id,
            "state": run.state,
            "started": datetime.fromisoformat(run.started),
            "ended": None if run.ended is None else datetime.fromisoformat(run.ended),
            "seconds": seconds_of(run),
            "error": run.error,
            "config_path": run.config_path,
            "config": json.dumps(run.config, ensure_ascii=False),
            "pid": run.pid,
            "host": run.host,
        }
        for run in runs
    ]
    return pa.Table.from_pylist(rows, schema=RUNS_TABLE.schema)


def stages_table(runs: Sequence[RunRecord]) -> pa.Table:
    """Return table `stages`, a row a stage of a run."""
    rows = [
        {
            "run_id": run.run_id,
            "position": position,
            "stage": stage.stage,
            "reused": stage.reused,
            "reason": stage.reason,
            "seconds": stage.seconds,
            "rows_in": stage.rows_in,
            "rows_out": sum(stage.rows_out.values()),
            "rows_computed": stage.rows_computed,
            "tables": json.dumps(stage.rows_out),
            "notes": stage.notes,
            "figures": json.dumps(stage.figures),
            "fingerprint": stage.fingerprint,
        }
        for run in runs
        for position, stage in enumerate(run.stages)
    ]
    return pa.Table.from_pylist(rows, schema=STAGES_TABLE.schema)
