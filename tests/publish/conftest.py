"""A small project that has been run, for exports to read."""

from __future__ import annotations

import pytest
from rich.console import Console
from small_data import make_rows, write_project

from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace


def run(folder, *settings):
    """Run the project in a folder over its workspace `ws`; return the run's id."""
    config = load_config(folder / "fractal.toml", settings)
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(folder / "ws"), config, runtime) as labelling:
        for name in STAGE_NAMES:
            labelling.execute(name)
    return labelling.record.run_id


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, tiny_encoder):
    """A folder with 60 responses to 30 queries, labelled with 6 epochs and then with 5; and the ids of both runs."""
    folder = tmp_path_factory.mktemp("labelled")
    write_project(folder, tiny_encoder, make_rows(60), epochs=5)
    first = run(folder, "train.epochs=6")
    return folder, (first, run(folder))
