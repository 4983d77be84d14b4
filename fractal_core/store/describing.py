"""The recipe of a stage, from the configuration and the artefacts that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.store.artefact import Artefact
from fractal_core.store.code import code_digests
from fractal_core.store.recipe import Recipe, library_versions
from fractal_core.store.sources import source_digests
from fractal_core.store.stage import Stage
from fractal_core.store.workspace import Workspace
from fractal_core.tables import TABLES

if TYPE_CHECKING:
    from fractal_core.config import RunConfig


def make_recipe(workspace: Workspace, stage: Stage, config: RunConfig, upstream: Mapping[str, Artefact]) -> Recipe:
    """Return the recipe of a stage, given the artefacts of the stages it reads from, for a result made anew."""
    inputs: dict[str, str] = {}
    for key, columns in stage.reads_with(config).items():
        origin, table = key.split(".", 1)
        inputs |= upstream[origin].input_digests(table, columns)
    for key in stage.reads_files:
        origin, name = key.split(".", 1)
        inputs[name] = upstream[origin].manifest.files[name].sha256
    return replace(outline(workspace, stage, config), inputs=inputs)


def outline(workspace: Workspace, stage: Stage, config: RunConfig) -> Recipe:
    """Return what is known of a stage's recipe before the stages that it reads from have run: all but its inputs."""
    return Recipe(
        stage=stage.name,
        params=stage.params(config).model_dump(mode="json"),
        code=code_digests(stage.module),
        inputs={},
        sources=external_digests(workspace, stage, config),
        libraries=library_versions(stage.libraries),
        schemas={name: _schema_text(name) for name in stage.writes},
    )


def external_digests(workspace: Workspace, stage: Stage, config: RunConfig) -> dict[str, list[str]]:
    """Return name -> sorted SHA-256 of the external files that a stage reads."""
    return {name: source_digests(workspace, files) for name, files in stage.sources(config).items()}


def _schema_text(table: str) -> str:
    return ", ".join(f"{field.name} {field.type}{'?' if field.nullable else ''}" for field in TABLES[table].schema)
