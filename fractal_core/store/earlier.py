"""Earlier results of a stage: made by the same code with the same parameters, from other inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.store.artefact import Artefact, find_artefact
from fractal_core.store.checking import damage_of

if TYPE_CHECKING:
    from fractal_core.store.recipe import Recipe
    from fractal_core.store.workspace import Workspace


def earlier_artefacts(workspace: Workspace, recipe: Recipe) -> list[Artefact]:
    """Return the whole artefacts of a stage whose recipe differs from this one in its inputs alone, newest first.

    What a row-local stage made of a row in one of them, it would make of it now: of any run, and of any data set of the
    workspace.

    Args:
        workspace: where artefacts are.
        recipe: of what is about to be computed.
    """
    stage = recipe.stage
    found = []
    for path in workspace.manifests.glob(f"{stage}-*.json"):
        artefact = find_artefact(workspace, stage, path.stem.removeprefix(f"{stage}-"))
        if artefact is not None and _made_alike(artefact.manifest.recipe, recipe) and _is_whole(artefact):
            found.append(artefact)
    return sorted(found, key=lambda artefact: (artefact.manifest.created, artefact.fingerprint), reverse=True)


def _is_whole(artefact: Artefact) -> bool:
    """Compare contents too: what is damaged must not come back in a new artefact."""
    return not any(damage_of(artefact, name) for name in (*artefact.manifest.tables, *artefact.manifest.files))


def _made_alike(one: Recipe, other: Recipe) -> bool:
    return replace(one, inputs={}) == replace(other, inputs={})
