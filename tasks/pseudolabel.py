"""Task `pseudolabel`: sentence labels that agree with the response labels."""

from __future__ import annotations

from tasks.stage_task import stage_task

pseudolabel = stage_task("pseudolabel")
