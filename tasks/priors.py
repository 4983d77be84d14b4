"""Task `priors`: what is known of a sentence before any label."""

from __future__ import annotations

from tasks.stage_task import stage_task

priors = stage_task("priors")
