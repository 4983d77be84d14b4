"""Whole runs without an orchestrator: the same stages, the same store, and a list of what ran."""

from __future__ import annotations

import pytest
from rich.console import Console
from small_data import read_jsonl, write_jsonl

from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace


class Runner:
    """Runs a project's pipeline and says which stages were computed."""

    def __init__(self, folder):
        self.folder = folder
        self.workspace = open_workspace(folder / "ws")
        self.last: LabellingRun | None = None

    def run(self, *settings, until=None, force=()):
        """Run and return the names of the stages that were computed, in order."""
        config = load_config(self.folder / "fractal.toml", settings)
        runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
        with LabellingRun(self.workspace, config, runtime, force=force) as run:
            self.last = run
            for stage in stages_until(until):
                run.execute(stage.name)
        return [record.stage for record in run.record.stages if not record.reused]

    def rows(self):
        """Return the rows of the project's input."""
        return read_jsonl(self.folder / "responses.jsonl")

    def give(self, rows):
        """Make these rows the project's input."""
        write_jsonl(self.folder / "responses.jsonl", rows)

    def edit(self, change):
        """Change the rows of the project's input, a list of dictionaries, in place."""
        rows = self.rows()
        change(rows)
        self.give(rows)

    def table(self, stage, name):
        """Return a table of the last run."""
        return self.last.artefacts[stage].table(name)

    def bytes(self):
        """Return the content of every table and file of the last run."""
        return {
            f"{stage}/{entry.name}": (artefact.folder / entry.name).read_bytes()
            for stage, artefact in self.last.artefacts.items()
            for entry in (*artefact.manifest.tables.values(), *artefact.manifest.files.values())
        }


@pytest.fixture
def runner(project):
    """A runner over the small project."""
    return Runner(project)


@pytest.fixture(scope="session")
def runner_in(tiny_encoder):
    """Make a runner over another folder."""
    return Runner
