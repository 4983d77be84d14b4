"""Task `export`: the finished Parquet file."""

from __future__ import annotations

from tasks.stage_task import stage_task

export = stage_task("export", retries=2)
