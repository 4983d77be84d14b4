"""Earlier results of a stage: made by the same code with the same parameters, from other inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.store.artefact import Artefact, find_artefact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fractal_core.store.recipe import Recipe
    from fractal_core.store.workspace import Workspace


def earlier_artefacts(workspace: Workspace, recipe: Recipe) -> list[Artefact]:
    """Return the whole artefacts of a stage whose recipe differs from this one in its rows alone, newest first.

    What a row-local stage made of a row in one of them, it would make of it now: of any run, and of any data set of the
    workspace.

    Args:
        workspace: where artefacts are.
        recipe: of what is about to be computed.
    """
    found = [
        artefact
        for artefact in committed(workspace, recipe.stage)
        if _made_alike(artefact.manifest.recipe, recipe) and _is_whole(artefact)
    ]
    return sorted(found, key=lambda artefact: (artefact.manifest.created, artefact.fingerprint), reverse=True)


def committed(workspace: Workspace, stage: str) -> Iterator[Artefact]:
    """Yield the artefacts of a stage whose manifests can be read, whole or not, in no order."""
    for path in workspace.manifests.glob(f"{stage}-*.json"):
        artefact = find_artefact(workspace, stage, path.stem.removeprefix(f"{stage}-"))
        if artefact is not None:
            yield artefact


def _is_whole(artefact: Artefact) -> bool:
    """Compare contents too: what is damaged must not come back in a new artefact."""
    return not any(artefact.damage_of(name) for name in (*artefact.manifest.tables, *artefact.manifest.files))


def _made_alike(one: Recipe, other: Recipe) -> bool:
    return _without_rows(one) == _without_rows(other)


def _without_rows(recipe: Recipe) -> Recipe:
    """Leave out what the rows come from: tables or, where none is read, files; else files are what makes the rows."""
    return replace(recipe, inputs={}, sources=recipe.sources if recipe.inputs else {})
