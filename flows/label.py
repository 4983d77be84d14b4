"""The main flow: responses with one label each become sentences with a score and a label each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.stopping import stopping_at_once
from fractal_core.config import RunConfig
from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.progress import Reporter, current_reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import Workspace, open_workspace
from tasks.embed import embed
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.priors import priors
from tasks.pseudolabel import pseudolabel
from tasks.read import read
from tasks.segment import segment
from tasks.showing import show_run
from tasks.train import train

PIPELINE = (read, segment, embed, priors, train, pseudolabel, evaluate, export)


@flow(name="label", flow_run_name="label {config_path}", persist_result=False, validate_parameters=False)
def label(
    config_path: str,
    workspace: str = ".fractal",
    settings: tuple[str, ...] = (),
    until: str | None = None,
    force: tuple[str, ...] = (),
) -> str:
    """Run the pipeline over a configuration and return the run's id.

    Args:
        config_path: TOML file.
        workspace: folder of the artefacts.
        settings: "section.key=value" overrides.
        until: last stage to run.
        force: stages to compute even if they are current.
    """
    config = load_config(Path(config_path), settings)
    store = open_workspace(Path(workspace))
    return run_stages(store, config, current_reporter(), config_path=config_path, until=until, force=force)


def run_stages(
    store: Workspace,
    config: RunConfig,
    reporter: Reporter,
    *,
    config_path: str,
    until: str | None = None,
    force: Collection[str] = (),
) -> str:
    """Run the stages as tasks of the flow run that this is called in, and return the run's id.

    Args:
        store: where artefacts and the record go.
        config: what to run.
        reporter: hears how it goes.
        config_path: where the configuration came from.
        until: last stage to run.
        force: stages to compute even if they are current.
    """
    runtime = make_runtime(config.runtime, reporter)
    # Prefect has put its own handler for SIGTERM in place, which would wait for its server.
    with (
        stopping_at_once(store, reporter.style),
        LabellingRun(store, config, runtime, config_path=config_path, force=force) as run,
    ):
        run.note_flow_run(flow_run.id)
        run.on_stage = reporter.stage
        for stage in PIPELINE:
            _ = stage(run)
            if stage.name == until:
                break
    show_run(run)
    return run.record.run_id
