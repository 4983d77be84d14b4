"""Task `train`: the scorer, from response labels."""

from __future__ import annotations

from tasks.stage_task import stage_task

train = stage_task("train")
