"""Task `embed`: embeddings and evidence."""

from __future__ import annotations

from tasks.stage_task import stage_task

embed = stage_task("embed")
