"""The only place that decides hit or miss, locks, computes, and commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fractal_core.errors import InputError
from fractal_core.store.artefact import Artefact, find_artefact, find_whole
from fractal_core.store.checking import check_inputs
from fractal_core.store.committing import commit
from fractal_core.store.continuing import Resolved, resolve
from fractal_core.store.describing import external_digests, make_recipe
from fractal_core.store.earlier import earlier_artefacts
from fractal_core.store.failures import storing
from fractal_core.store.faults import reach
from fractal_core.store.handles import ArtefactInputs, OutputFolder
from fractal_core.store.locks import lock
from fractal_core.store.manifest import Manifest
from fractal_core.store.recipe import Recipe
from fractal_core.store.shelf import Shelf
from fractal_core.store.stage import Runtime, Stage
from fractal_core.store.using import in_use
from fractal_core.store.workspace import Workspace

if TYPE_CHECKING:
    from fractal_core.config import RunConfig


@dataclass(frozen=True)
class Outcome:
    """What `materialize` did for a stage.

    Attributes:
        artefact: the committed artefact, old or new.
        reused: True if it was there already.
        seconds: time this call took.
        reason: why it was reused or computed.
    """

    artefact: Artefact
    reused: bool
    seconds: float
    reason: str


def materialize(
    workspace: Workspace,
    stage: Stage,
    config: RunConfig,
    upstream: Mapping[str, Artefact],
    runtime: Runtime,
    *,
    explain: Callable[[Recipe], str] = lambda recipe: "not computed before",
    force: bool = False,
) -> Outcome:
    """Return the artefact of a stage: the committed one if its recipe is unchanged, else computed and committed now.

    Args:
        workspace: where artefacts are.
        stage: what to compute.
        config: the run's configuration, of which the stage sees `stage.params(config)`.
        upstream: artefacts of the stages it reads from, by stage name.
        runtime: how to compute.
        explain: says why a recipe has no artefact yet, for the record.
        force: compute even if a committed artefact is there, and continue no earlier one.

    Raises:
        FractalError: whatever the stage's function raises for the user; StoreError if the store cannot be written;
            DamagedArtefactError if an input is damaged.
    """
    started = time.perf_counter()
    recipe = make_recipe(workspace, stage, config, upstream)

    def outcome(artefact: Artefact, reason: str, *, reused: bool) -> Outcome:
        return Outcome(artefact, reused, time.perf_counter() - started, reason)

    with storing(f"Stage {stage.name} committed nothing", workspace.root):
        # A run says that it runs before it looks for artefacts, and whoever collects garbage does so alone: either it
        # finds the run, and leaves it what it may find here, or the run finds nothing.
        with in_use(workspace.root):
            resolved = Resolved(recipe) if force else resolve(workspace, stage, recipe, config, upstream)
            fingerprint = resolved.recipe.fingerprint
            found = None if force else find_whole(workspace, stage.name, fingerprint)[0]
        if found is not None:
            return outcome(found, "unchanged", reused=True)
        with lock(workspace.locks / f"{stage.name}-{fingerprint}.lock", runtime.note) as waited_for:
            with in_use(workspace.root):
                found = None if force else find_whole(workspace, stage.name, fingerprint)[0]
            if found is not None:
                return outcome(found, f"computed meanwhile by {waited_for or 'another process'}", reused=True)
            why = "forced" if force else find_whole(workspace, stage.name, fingerprint)[1] or explain(resolved.recipe)
            artefact = _compute(workspace, stage, resolved, config, upstream, runtime, force=force)
    if resolved.predecessor is not None:
        why = f"{why}; {resolved.words}"
    return outcome(artefact, why, reused=False)


def _compute(
    workspace: Workspace,
    stage: Stage,
    resolved: Resolved,
    config: RunConfig,
    upstream: Mapping[str, Artefact],
    runtime: Runtime,
    *,
    force: bool,
) -> Artefact:
    """Run the stage into a temporary folder and commit it."""
    started = time.perf_counter()
    recipe = resolved.recipe
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        runtime.note(text)

    check_inputs(stage, upstream)
    inputs = ArtefactInputs(
        stage.reads_with(config),
        stage.reads_files,
        upstream,
        stage.sources(config),
        lambda: [] if force else earlier_artefacts(workspace, recipe),
        resolved.predecessor,
    )
    if resolved.words and resolved.predecessor is None:
        note(resolved.words)
    # The name says whose lock to look at to know whether somebody still writes here.
    outputs = OutputFolder(stage, workspace.temporary(f"{stage.name}-{recipe.fingerprint}"))
    reach(stage.name, "start")
    try:
        try:
            with closing(Shelf(workspace, recipe, 0 if force else runtime.shelf_bytes)) as shelf:
                stage.load()(inputs, stage.params(config), outputs, replace(runtime, note=note, shelf=shelf))
        except Exception:
            check_inputs(stage, upstream)  # what was damaged meanwhile makes a stage fail in words of its own
            raise
        check_inputs(stage, upstream)  # weights have no checksums to be read by
        _check_sources(workspace, stage, config, recipe)
        tables, files = outputs.close(had_input=inputs.total_rows > 0)
        reach(stage.name, "written")
        previous = find_artefact(workspace, stage.name, recipe.fingerprint)
        generation = 0 if previous is None else previous.manifest.generation + 1
        manifest = Manifest(
            recipe=recipe,
            folder=f"{stage.name}-{recipe.fingerprint}" + (f"-{generation}" if generation else ""),
            generation=generation,
            tables=tables,
            files=files,
            rows_in=inputs.total_rows,
            seconds=round(time.perf_counter() - started, 3),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=notes,
            rows_reused=outputs.rows_reused,
            figures=outputs.figures,
        )
        return commit(Artefact(workspace, recipe.fingerprint, manifest), outputs.folder)
    finally:
        outputs.discard()


def _check_sources(workspace: Workspace, stage: Stage, config: RunConfig, recipe: Recipe) -> None:
    """Refuse a result whose recipe names other files than it may have been made from; raises InputError."""
    now = external_digests(workspace, stage, config)
    changed = [name for name in recipe.sources.keys() | now.keys() if recipe.sources.get(name) != now.get(name)]
    if changed:
        raise InputError(
            f"The {' and '.join(sorted(changed))} files changed while stage {stage.name} read them, so nothing was "
            "committed; run again."
        )
