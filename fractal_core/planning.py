"""What a run would do: for every stage, reused or to run, and why. Nothing is computed, nothing heavy imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fractal_core.config import RunConfig
from fractal_core.config_keys import key_ending_with
from fractal_core.pipeline import stage_named, stages_until
from fractal_core.store.artefact import Artefact, find_artefact, find_whole
from fractal_core.store.continuing import foresee, resolve
from fractal_core.store.describing import make_recipe, outline
from fractal_core.store.earlier import committed
from fractal_core.store.recipe import Recipe
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.stage import Stage
from fractal_core.store.workspace import Workspace

Decision = Literal["reuse", "run", "wait"]


@dataclass(frozen=True)
class StagePlan:
    """One stage's fate: reuse, run, or wait (whether it runs depends on nothing but the output of stages before it)."""

    stage: str
    decision: Decision
    reasons: tuple[str, ...]
    artefact: Artefact | None = None


def make_plan(
    workspace: Workspace,
    config: RunConfig,
    *,
    config_path: str = "",
    until: str | None = None,
    force: Collection[str] = (),
) -> list[StagePlan]:
    """Return the plan of every stage up to `until`, in order.

    Args:
        workspace: where the artefacts are.
        config: what to run.
        config_path: where it came from: reasons compare with earlier runs of the same file, if there are any.
        until: the last stage.
        force: stages that run even if nothing has changed.

    Raises:
        UsageError: if `until` or a name in `force` is no stage.
        InputError: if the input or the encoder is not there.
    """
    forced = {stage_named(name).name for name in force}
    for stage in stages_until(until):
        stage.sources(config)  # a missing input or encoder is found before anything is computed
    runs = own_first(list_runs(workspace), config_path)
    plans: dict[str, StagePlan] = {}
    for stage in stages_until(until):
        plans[stage.name] = _plan_stage(workspace, stage, config, plans, runs, forced=stage.name in forced)
    return list(plans.values())


def own_first(runs: Sequence[RunRecord], config_path: str) -> list[RunRecord]:
    """Return the runs of a configuration file before those of others, otherwise in their order."""
    own = Path(config_path).resolve()
    return sorted(runs, key=lambda run: Path(run.config_path).resolve() != own)


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
    if forced:
        return StagePlan(stage.name, "run", ("forced",))
    upstream = {name: artefact for name in stage.upstream if (artefact := plans[name].artefact) is not None}
    unsettled = [name for name in stage.upstream if name not in upstream]
    recipe = make_recipe(workspace, _reading_from(stage, upstream), config, upstream)
    if unsettled:
        step = _plan_unsettled(workspace, recipe, unsettled, runs)
        foreseen = _foreseen(workspace, stage, config)
        return replace(step, reasons=(*step.reasons, foreseen)) if foreseen else step
    resolved = resolve(workspace, stage, recipe, config, upstream)
    artefact, damage = find_whole(workspace, stage.name, resolved.recipe.fingerprint)
    if artefact is not None:
        return StagePlan(stage.name, "reuse", ("unchanged",), artefact)
    reasons = [damage] if damage else stale_reasons(workspace, resolved.recipe, runs)
    return StagePlan(stage.name, "run", (*reasons, *([resolved.words] if resolved.words else [])))


def _foreseen(workspace: Workspace, stage: Stage, config: RunConfig) -> str:
    """Say what a stage goes on from that has to wait for others."""
    if stage.continues is None:
        return ""
    recipe = outline(workspace, stage, config)
    upstream = {name: outline(workspace, stage_named(name), config) for name in stage.continues.alike}
    return foresee(workspace, stage, recipe, config, upstream)


def _reading_from(stage: Stage, upstream: Collection[str]) -> Stage:
    """Return the stage without what it reads from other stages than these."""
    return replace(
        stage,
        reads={key: columns for key, columns in stage.reads.items() if key.split(".")[0] in upstream},
        reads_files=tuple(key for key in stage.reads_files if key.split(".")[0] in upstream),
    )


def _plan_unsettled(workspace: Workspace, known: Recipe, unsettled: list[str], runs: list[RunRecord]) -> StagePlan:
    """Plan a stage of whose recipe only `known` is known, without its inputs from the stages `unsettled`."""
    if not any(_may_become(known, artefact.manifest.recipe) for artefact in committed(workspace, known.stage)):
        return StagePlan(known.stage, "run", tuple(stale_reasons(workspace, known, runs, whole=False)))
    *others, last = unsettled
    makers = f"{', '.join(others)} and {last} make" if others else f"{last} makes"
    return StagePlan(known.stage, "wait", (f"runs unless {makers} the same output as before",))


def _may_become(known: Recipe, made: Recipe) -> bool:
    return known.inputs.items() <= made.inputs.items() and replace(known, inputs=made.inputs) == made.anew


def stale_reasons(workspace: Workspace, recipe: Recipe, runs: Sequence[RunRecord], *, whole: bool = True) -> list[str]:
    """Say why a recipe has no artefact: how it differs from that of the first run that had the stage.

    Args:
        workspace: where the artefacts are.
        recipe: of what has to be computed.
        runs: earlier runs, in the order of `own_first`.
        whole: whether the recipe has all inputs of the stage; if not, those that it has not are not compared.
    """
    fingerprints = [found for run in runs if (found := run.fingerprints().get(recipe.stage)) is not None]
    for fingerprint in fingerprints:
        before = find_artefact(workspace, recipe.stage, fingerprint)
        if fingerprint == recipe.fingerprint:
            break
        if before is not None:
            old = before.manifest.recipe
            if not whole:
                old = replace(old.anew, inputs={key: old.inputs[key] for key in recipe.inputs if key in old.inputs})
            return recipe.differences(old, _key)
    return ["its artefact is gone" if fingerprints else "not computed before"]


def _key(parameter: str) -> str:
    return key_ending_with(RunConfig, parameter)
