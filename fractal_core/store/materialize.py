"""The only place that decides hit or miss, locks, computes, and commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fractal_core.errors import InputError
from fractal_core.store.artefact import Artefact, Manifest, find_artefact, manifest_path, read_manifest
from fractal_core.store.checking import check_inputs
from fractal_core.store.code import code_digests
from fractal_core.store.committing import commit
from fractal_core.store.earlier import earlier_artefacts
from fractal_core.store.failures import storing
from fractal_core.store.faults import reach
from fractal_core.store.handles import ArtefactInputs, OutputFolder
from fractal_core.store.locks import lock
from fractal_core.store.recipe import Recipe, library_versions
from fractal_core.store.sources import source_digests
from fractal_core.store.stage import Runtime, Stage
from fractal_core.store.using import in_use
from fractal_core.store.workspace import Workspace
from fractal_core.tables import TABLES

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


def make_recipe(workspace: Workspace, stage: Stage, config: RunConfig, upstream: Mapping[str, Artefact]) -> Recipe:
    """Return the recipe of a stage, given the artefacts of the stages it reads from."""
    inputs: dict[str, str] = {}
    for key, columns in stage.reads_with(config).items():
        origin, table = key.split(".", 1)
        inputs |= upstream[origin].input_digests(table, columns)
    for key in stage.reads_files:
        origin, name = key.split(".", 1)
        inputs[name] = upstream[origin].manifest.files[name].sha256
    return Recipe(
        stage=stage.name,
        params=stage.params(config).model_dump(mode="json"),
        code=code_digests(stage.module),
        inputs=inputs,
        sources=_sources(workspace, stage, config),
        libraries=library_versions(stage.libraries),
        schemas={name: _schema_text(name) for name in stage.writes},
    )


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
        force: compute even if a committed artefact is there.

    Raises:
        FractalError: whatever the stage's function raises for the user; StoreError if the store cannot be written, or
            an input is damaged.
    """
    started = time.perf_counter()
    recipe = make_recipe(workspace, stage, config, upstream)
    fingerprint = recipe.fingerprint

    def outcome(artefact: Artefact, reason: str, *, reused: bool) -> Outcome:
        return Outcome(artefact, reused, time.perf_counter() - started, reason)

    with storing(f"Stage {stage.name} committed nothing", workspace.root):
        found = None if force else _find_whole(workspace, stage, fingerprint)
        if found is not None:
            return outcome(found, "unchanged", reused=True)
        with lock(workspace.locks / f"{stage.name}-{fingerprint}.lock", runtime.note) as waited_for:
            found = None if force else _find_whole(workspace, stage, fingerprint)
            if found is not None:
                return outcome(found, f"computed meanwhile by {waited_for or 'another process'}", reused=True)
            damage = _damage(workspace, stage, fingerprint)
            earlier = [] if force else earlier_artefacts(workspace, recipe)
            artefact = _compute(workspace, stage, recipe, config, upstream, runtime, earlier)
    return outcome(artefact, "forced" if force else damage or explain(recipe), reused=False)


def _find_whole(workspace: Workspace, stage: Stage, fingerprint: str) -> Artefact | None:
    """Return the committed artefact unless it is damaged.

    A run says that it runs before it looks here, and whoever collects garbage does so alone: either it finds the run,
    and leaves it what it may find here, or the run finds nothing.
    """
    with in_use(workspace.root):
        found = find_artefact(workspace, stage.name, fingerprint)
        return found if found is not None and found.damage() is None else None


def _damage(workspace: Workspace, stage: Stage, fingerprint: str) -> str:
    """Say what is wrong with the committed artefact; nothing if it is whole, or there is none."""
    manifest, damage = read_manifest(manifest_path(workspace, stage.name, fingerprint))
    return damage if manifest is None else Artefact(workspace, fingerprint, manifest).damage() or ""


def _compute(
    workspace: Workspace,
    stage: Stage,
    recipe: Recipe,
    config: RunConfig,
    upstream: Mapping[str, Artefact],
    runtime: Runtime,
    earlier: list[Artefact],
) -> Artefact:
    """Run the stage into a temporary folder and commit it."""
    started = time.perf_counter()
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        runtime.note(text)

    check_inputs(stage, upstream)
    inputs = ArtefactInputs(stage.reads_with(config), stage.reads_files, upstream, stage.sources(config), earlier)
    # The name says whose lock to look at to know whether somebody still writes here.
    outputs = OutputFolder(stage, workspace.temporary(f"{stage.name}-{recipe.fingerprint}"))
    reach(stage.name, "start")
    try:
        stage.load()(inputs, stage.params(config), outputs, replace(runtime, note=note))
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
        )
        return commit(Artefact(workspace, recipe.fingerprint, manifest), outputs.folder)
    finally:
        outputs.discard()


def _sources(workspace: Workspace, stage: Stage, config: RunConfig) -> dict[str, list[str]]:
    return {name: source_digests(workspace, files) for name, files in stage.sources(config).items()}


def _check_sources(workspace: Workspace, stage: Stage, config: RunConfig, recipe: Recipe) -> None:
    """Refuse a result whose recipe names other files than it may have been made from; raises InputError."""
    now = _sources(workspace, stage, config)
    changed = [name for name in recipe.sources.keys() | now.keys() if recipe.sources.get(name) != now.get(name)]
    if changed:
        raise InputError(
            f"The {' and '.join(sorted(changed))} files changed while stage {stage.name} read them, so nothing was "
            "committed; run again."
        )


def _schema_text(table: str) -> str:
    return ", ".join(f"{field.name} {field.type}{'?' if field.nullable else ''}" for field in TABLES[table].schema)
