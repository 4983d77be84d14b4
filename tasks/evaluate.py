"""Task `evaluate`: figures against gold and response labels."""

from __future__ import annotations

from tasks.stage_task import stage_task

evaluate = stage_task("evaluate")
