"""`fractal evaluate`: the figures of a run, taken anew if gold labels have come or changed; nothing else is done."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.launch import Request, run_or_reuse
from fractal_core.config_loading import load_config
from fractal_core.errors import StoreError
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import make_plan
from fractal_core.store.artefact import DamagedArtefactError, find_artefact
from fractal_core.store.workspace import open_workspace
from fractal_core.text.files import input_files

if TYPE_CHECKING:
    from fractal_core.config import RunConfig
    from fractal_core.progress import Reporter
    from fractal_core.store.artefact import Artefact
    from fractal_core.store.workspace import Workspace

STAGE = "evaluate"
_BEFORE = STAGE_NAMES[: STAGE_NAMES.index(STAGE)]


@dataclass(frozen=True)
class Evaluation:
    """The figures of a run: rows of tables metrics and reliability, and what gold labels they are against."""

    run_id: str
    gold: str
    metrics: list[dict[str, Any]]
    reliability: list[dict[str, Any]]


def evaluate(
    config: Path, workspace: Path, settings: tuple[str, ...], gold: Path | None, reporter: Reporter
) -> Evaluation:
    """Return the figures of the results of a configuration, from the store if they are there.

    Otherwise stage `evaluate` runs, and what follows it, in this process: that is a run like any other, whose figures
    are in table metrics.

    Args:
        config: the configuration.
        workspace: folder of the artefacts.
        settings: "section.key=value" overrides.
        gold: file of gold labels, in place of `evaluate.gold` and those of the input.
        reporter: hears how it goes.

    Raises:
        StoreError: if there is no workspace, or results before the figures are not there or stale.
        InputError: if the gold labels do not fit the sentences; there is no run then.
    """
    if gold is not None:
        # A string of JSON is one of TOML, but for characters that it writes as two halves.
        settings = (*settings, f"evaluate.gold={json.dumps(str(gold.resolve()), ensure_ascii=False)}")
    store = open_workspace(workspace, create=False)
    now = load_config(config, settings)
    plan = {step.stage: step for step in make_plan(store, now, config_path=str(config), until=STAGE)}
    for step in (plan[name] for name in _BEFORE):
        if step.decision != "reuse":
            raise StoreError(
                f"The results of {config} are not there or stale: stage {step.stage} would run "
                f"({'; '.join(step.reasons)}); run `fractal run {config}` first."
            )
    sentences = plan["segment"].artefact
    if now.evaluate.gold and plan[STAGE].decision != "reuse" and sentences is not None:
        _check_gold(now, sentences)
    store, record = run_or_reuse(Request(config, workspace, settings), reporter, _here)
    artefact = find_artefact(store, STAGE, record.fingerprints()[STAGE])
    if artefact is None:
        raise StoreError(f"The figures of run {record.run_id} have just been removed; evaluate again.")
    metrics, reliability = (artefact.table(name).to_pylist() for name in ("metrics", "reliability"))
    return Evaluation(record.run_id, now.evaluate.gold, metrics, reliability)


def _check_gold(config: RunConfig, sentences: Artefact) -> None:
    """Raise an InputError if the gold labels do not fit the sentences, before a run is recorded that would fail."""
    from fractal_core.evaluation.gold import read_gold
    from fractal_core.text.labels import label_rule

    with suppress(DamagedArtefactError):  # the run computes it again, and looks itself
        table = sentences.table("sentences", ("response_id", "sentence_index"))
        names = (config.input.columns.id, config.input.columns.sentence_labels)
        # What becomes of aggregation "auto" does not change what a gold label may be.
        rule = label_rule(config.input.label_kind, config.aggregation, config.input.grades)
        read_gold(input_files([Path(config.evaluate.gold)]), table, names, rule)


def _here(request: Request, workspace: Workspace, config: RunConfig, reporter: Reporter) -> str:
    """Run what is stale without an orchestrator: it is a matter of seconds, and needs none of its services."""
    from fractal_core.labelling import LabellingRun
    from fractal_core.runtime import make_runtime

    runtime = make_runtime(config.runtime, reporter)
    with LabellingRun(workspace, config, runtime, config_path=str(request.config), force=request.force) as run:
        run.on_stage = reporter.stage
        for name in STAGE_NAMES:
            run.execute(name)
    return run.record.run_id
