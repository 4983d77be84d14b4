"""Task `read`: responses and rejects, from the user's files."""

from __future__ import annotations

from tasks.stage_task import stage_task

read = stage_task("read", retries=2)
