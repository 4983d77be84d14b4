"""Task `segment`: sentences."""

from __future__ import annotations

from tasks.stage_task import stage_task

segment = stage_task("segment")
