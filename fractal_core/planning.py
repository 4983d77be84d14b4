"""What a run would do: for every stage, reused or to run, and why. Nothing is computed, nothing heavy imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from fractal_core.config import RunConfig
from fractal_core.pipeline import stage_named, stages_until
from fractal_core.store.artefact import Artefact, find_artefact
from fractal_core.store.materialize import make_recipe
from fractal_core.store.recipe import Recipe
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.stage import Stage
from fractal_core.store.workspace import Workspace

Decision = Literal["reuse", "run", "wait"]


@dataclass(frozen=True)
class StagePlan:
    """One stage's fate: reuse, run, or wait (whether it runs depends on the output of a stage that runs before it)."""

    stage: str
    decision: Decision
    reasons: tuple[str, ...]
    artefact: Artefact | None = None


def make_plan(
    workspace: Workspace, config: RunConfig, *, until: str | None = None, force: Collection[str] = ()
) -> list[StagePlan]:
    """Return the plan of every stage up to `until`, in order.

    Raises:
        UsageError: if `until` or a name in `force` is no stage.
        InputError: if the input or the encoder is not there.
    """
    forced = {stage_named(name).name for name in force}
    for stage in stages_until(until):
        stage.sources(config)  # a missing input or encoder is found before anything is computed
    runs = list_runs(workspace)
    plans: dict[str, StagePlan] = {}
    for stage in stages_until(until):
        plans[stage.name] = _plan_stage(workspace, stage, config, plans, runs, forced=stage.name in forced)
    return list(plans.values())


def is_current(plan: list[StagePlan]) -> bool:
    """Tell whether nothing has to run."""
    return all(step.decision == "reuse" for step in plan)


def _plan_stage(
    workspace: Workspace,
    stage: Stage,
    config: RunConfig,
    plans: dict[str, StagePlan],
    runs: list[RunRecord],
    *,
    forced: bool,
) -> StagePlan:
    unsettled = [name for name in stage.upstream if plans[name].decision != "reuse"]
    if unsettled:
        return StagePlan(stage.name, "wait", (f"runs unless {' and '.join(unsettled)} make the same output as before",))
    upstream = {name: artefact for name in stage.upstream if (artefact := plans[name].artefact) is not None}
    recipe = make_recipe(workspace, stage, config, upstream)
    artefact = find_artefact(workspace, stage.name, recipe.fingerprint)
    if forced:
        return StagePlan(stage.name, "run", ("forced",))
    if artefact is None:
        return StagePlan(stage.name, "run", tuple(stale_reasons(workspace, recipe, runs)))
    damage = artefact.damage()
    if damage:
        return StagePlan(stage.name, "run", (damage,))
    return StagePlan(stage.name, "reuse", ("unchanged",), artefact)


def stale_reasons(workspace: Workspace, recipe: Recipe, runs: Sequence[RunRecord]) -> list[str]:
    """Say why a recipe has no artefact: how it differs from that of the newest of `runs` (newest first)."""
    for run in runs:
        fingerprint = run.fingerprints().get(recipe.stage)
        before = find_artefact(workspace, recipe.stage, fingerprint) if fingerprint else None
        if before is not None:
            return recipe.differences(before.manifest.recipe) or ["its artefact is gone"]
    return ["not computed before"]
