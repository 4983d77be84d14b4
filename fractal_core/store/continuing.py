"""Going on from an earlier result: whether what is wanted is there already, and if not, which result is continued.

Some stages may continue a result of their own that was made of other inputs (`Stage.continues`), a scorer that is
trained further or taken as it is. What comes out then depends on that result, so it is part of the recipe. Were it
looked for whenever the stage is asked for, an unchanged run would continue its own last result for ever. Hence:

1. A result of the same inputs, code and parameters that was made anew, or by continuing in the same mode, is the
   result, whatever it continued. So nothing runs if nothing has changed, or a change was taken back.
2. Otherwise the one of the newest completed run that was made alike of other inputs is continued. That means the same
   code, parameters and libraries of the stage itself, and of the stages that make what it reads comparable.
3. Otherwise the stage makes its result anew, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fractal_core.store.artefact import Artefact, find_artefact
from fractal_core.store.earlier import committed
from fractal_core.store.recipe import MODE, Recipe
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.stage import Continues, Stage
from fractal_core.store.workspace import Workspace

if TYPE_CHECKING:
    from fractal_core.config import RunConfig


@dataclass(frozen=True)
class ContinuedResult:
    """The result that a stage goes on from (implements `Predecessor`)."""

    artefact: Artefact
    mode: str
    run_id: str

    def path(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.artefact.path(name)


@dataclass(frozen=True)
class Resolved:
    """What a stage is to make.

    Attributes:
        recipe: of the result.
        predecessor: what it goes on from; None if it is made anew, or there already.
        words: which result is continued, or why none is although the configuration asks for it; else empty.
    """

    recipe: Recipe
    predecessor: ContinuedResult | None = None
    words: str = ""


def resolve(
    workspace: Workspace, stage: Stage, recipe: Recipe, config: RunConfig, upstream: Mapping[str, Artefact]
) -> Resolved:
    """Return what a stage is to make, and from what.

    Args:
        workspace: where earlier results are; hold it in common (`using.in_use`) until what is found is used.
        stage: the stage.
        recipe: of a result made anew.
        config: whose mode counts.
        upstream: artefacts of the stages it reads from, by stage name.
    """
    how = stage.continues
    mode = None if how is None else how.mode(config)
    if how is None or mode is None:
        return Resolved(recipe)
    runs = _completed(workspace, stage)
    there = _made_already(workspace, recipe, mode, runs)
    if there is not None:
        return Resolved(there)
    sources = {name: artefact.manifest.recipe for name, artefact in upstream.items()}
    found, words = _predecessor(workspace, how, mode, recipe, runs, sources)
    if found is None:
        return Resolved(recipe, words=words)
    digests = {name: found.artefact.manifest.files[name].sha256 for name in how.files}
    return Resolved(replace(recipe, continues={MODE: mode, **digests}), found, words)


def foresee(
    workspace: Workspace, stage: Stage, recipe: Recipe, config: RunConfig, upstream: Mapping[str, Recipe]
) -> str:
    """Say what a stage will go on from, should it run, or why from nothing; nothing if that cannot be told yet.

    Args:
        workspace: where earlier results are.
        stage: one whose inputs are not known yet.
        recipe: of a result made anew, without inputs.
        config: whose mode counts.
        upstream: recipes of the stages it reads from, by stage name; their inputs do not matter.
    """
    how = stage.continues
    mode = None if how is None else how.mode(config)
    if how is None or mode is None or how.same:
        return ""
    return _predecessor(workspace, how, mode, recipe, _completed(workspace, stage), upstream)[1]


def _completed(workspace: Workspace, stage: Stage) -> list[RunRecord]:
    runs = list_runs(workspace)
    return [run for run in runs if run.state == "completed" and stage.name in run.fingerprints()]


def _predecessor(
    workspace: Workspace,
    how: Continues,
    mode: str,
    recipe: Recipe,
    runs: Sequence[RunRecord],
    upstream: Mapping[str, Recipe],
) -> tuple[ContinuedResult | None, str]:
    """Return what is gone on from, and in words that, or why nothing is."""
    faults = []
    for run in runs:
        artefact, fault = _of_run(workspace, how, recipe, run, upstream)
        if artefact is not None:
            return ContinuedResult(artefact, mode, run.run_id), f"continues the {how.what} of run {run.run_id}"
        faults.append(f"that of run {run.run_id} cannot be, because {fault}")
    fault = faults[0] if faults else "no run that has one has completed"
    return None, f'{MODE} = "{mode}", but no earlier {how.what} is continued: {fault}'


def _made_already(workspace: Workspace, recipe: Recipe, mode: str, runs: Sequence[RunRecord]) -> Recipe | None:
    """Return the recipe of a whole result of just this, made anew or in this mode: the one that was used last."""
    used = [run.fingerprints()[recipe.stage] for run in reversed(runs)]
    found = [
        (max((n for n, each in enumerate(used) if each == artefact.fingerprint), default=-1), artefact.manifest)
        for artefact in committed(workspace, recipe.stage)
        if artefact.manifest.recipe.anew == recipe
        and artefact.manifest.recipe.continues.get(MODE, mode) == mode
        and artefact.damage() is None
    ]
    # What no completed run used (one that failed did) is as good as it is new.
    return max(found, key=lambda each: (each[0], each[1].created, each[1].folder))[1].recipe if found else None


def _of_run(
    workspace: Workspace,
    how: Continues,
    recipe: Recipe,
    run: RunRecord,
    upstream: Mapping[str, Recipe],
) -> tuple[Artefact | None, str]:
    """Return a run's result of a stage, if it can be continued; else None and why not."""
    made = {name: find_artefact(workspace, name, fingerprint) for name, fingerprint in run.fingerprints().items()}
    artefact = made[recipe.stage]
    if artefact is None:
        return None, "it is not there any more"
    before = artefact.manifest.recipe
    if not before.made_like(recipe):
        return None, _otherwise(before, recipe)
    for name in how.alike:
        source, now = made.get(name), upstream[name]
        if source is None:
            return None, f"what stage {name} had made for it is not there any more"
        if not source.manifest.recipe.made_like(now):
            return None, f"in stage {name} {_otherwise(source.manifest.recipe, now)}"
    other = [name for name in how.same if before.inputs.get(name) != recipe.inputs.get(name)]
    if other:
        return None, f"it was made from another {' and '.join(other)}"
    damage = next((fault for name in how.files if (fault := artefact.damage_of(name))), None)
    return (None, damage) if damage else (artefact, "")


def _otherwise(old: Recipe, new: Recipe) -> str:
    """Say how two recipes differ beside their inputs."""
    return "; ".join(replace(new.anew, inputs={}).differences(replace(old.anew, inputs={})))
