"""Whole runs without an orchestrator: the same stages, the same store, and a list of what ran."""

from __future__ import annotations

import shutil

import pytest
from rich.console import Console
from small_data import make_rows, read_jsonl, write_jsonl, write_project

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

    def config(self, *settings):
        """Return the project's configuration."""
        return load_config(self.folder / "fractal.toml", settings)

    def run(self, *settings, until=None, force=(), config_path=""):
        """Run and return the names of the stages that were computed, in order."""
        config = self.config(*settings)
        runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
        with LabellingRun(self.workspace, config, runtime, config_path=config_path, force=force) as run:
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


@pytest.fixture
def reporter():
    """Says nothing."""
    return Reporter("quiet", Console(stderr=True))


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory, tiny_encoder):
    """The folder of a small project that was run once; who wants to change it takes a copy (`again`).

    Every other response comes without sentences, so that it has to be cut.
    """
    folder = tmp_path_factory.mktemp("finished") / "project"
    folder.mkdir()
    rows = make_rows(24)
    for row in rows[::2]:
        del row["sentences"], row["sentence_labels"]
    write_project(folder, tiny_encoder, rows, epochs=3)
    Runner(folder).run()
    return folder


@pytest.fixture
def again(finished_folder, tmp_path):
    """A runner over a copy of the finished project, nothing of which is stale."""
    return Runner(shutil.copytree(finished_folder, tmp_path / "project"))


@pytest.fixture(scope="session")
def _run_once(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("whole") / "project"
    folder.mkdir()
    write_project(folder, tiny_encoder, make_rows(24), epochs=3)
    runner = Runner(folder)
    runner.run()
    return runner, runner.bytes()


@pytest.fixture
def finished(_run_once, tmp_path):
    """A runner over a small project that was run, with the fingerprints of that run; and the content of its files."""
    runner, files = _run_once
    folder = tmp_path / "project"
    shutil.copytree(runner.folder, folder)
    again = Runner(folder)
    again.fingerprints = {name: artefact.fingerprint for name, artefact in runner.last.artefacts.items()}
    return again, files
