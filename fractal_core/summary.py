"""The short summary after a run, and the plan before one."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fractal_core.label_kinds import INHERITED
from fractal_core.pipeline import stage_named
from fractal_core.planning import StagePlan
from fractal_core.publish.placing import NAME
from fractal_core.store.artefact import Artefact, find_artefact
from fractal_core.store.runs import MEANWHILE, RunRecord
from fractal_core.store.workspace import Workspace

_QUERY = (
    "SELECT text, score FROM latest.sentences JOIN latest.pseudolabels USING (response_id, sentence_index) "
    "ORDER BY score LIMIT 5"
)

_FIGURES = {
    "sentence_auc": "sentence AUC-ROC",
    "sentence_mae": "sentence mean absolute error",
    "preference_accuracy": "preferences predicted rightly",
}


def summarise(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    """Return what a run did and where its result is, as JSON values."""
    artefacts = {
        stage.stage: found
        for stage in run.stages
        if (found := find_artefact(workspace, stage.stage, stage.fingerprint)) is not None
    }
    counts = {name: rows for artefact in artefacts.values() for name, rows in artefact.rows_out.items()}
    export = artefacts.get("export")
    directory = run.config.get("export", {}).get("directory")
    of_pairs = run.config.get("input", {}).get("label_kind") == "preference"
    return {
        "run_id": run.run_id,
        "state": run.state,
        "stages": [
            {
                "stage": s.stage, "reused": s.reused, "reason": s.reason, "seconds": s.seconds,
                "rows_in": s.rows_in, "rows_out": s.rows_out, "notes": s.notes,
                "figures": s.figures,
            }
            for s in run.stages
        ],
        "responses": counts.get("responses", 0),
        "sentences": counts.get("sentences"),
        "rejects": counts.get("rejects", 0),
        "reject_reasons": _reject_reasons(artefacts.get("read")),
        "sentence_auc": _figures_of(artefacts.get("evaluate"), "sentence", "auc_roc"),
        "sentence_mae": _figures_of(artefacts.get("evaluate"), "sentence", "mae"),
        "preference_accuracy": _figures_of(artefacts.get("evaluate") if of_pairs else None, "response", "accuracy"),
        "labels": None if export is None else (f"{directory}/{NAME}" if directory else str(export.path(NAME))),
        "workspace": str(workspace.root),
    }  # fmt: skip


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print a summary for a person."""

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    ran = [stage for stage in summary["stages"] if not stage["reused"]]
    if not ran:
        line(_why_nothing_ran(summary["stages"]))
    table = Table("stage", "", "seconds", "rows", "why", box=None, pad_edge=False, header_style="bold")
    for stage in summary["stages"]:
        rows = ", ".join(f"{count:,} {name}" for name, count in stage["rows_out"].items())
        why = _within(stage["reason"], summary["workspace"])
        table.add_row(stage["stage"], "reused" if stage["reused"] else "ran", f"{stage['seconds']:.1f}", rows, why)
    console.print(table, markup=False)
    line("")
    sentences = "" if summary["sentences"] is None else f" {summary['sentences']:,} sentences,"
    line(f"{summary['responses']:,} responses,{sentences} {summary['rejects']:,} rejects")
    for reason, count in summary["reject_reasons"].items():
        line(f"  rejected: {count:,} x {reason}")
    for text in _notes(ran):
        line(f"  {text}")
    for key, words in _FIGURES.items():
        for figure in summary[key]:
            line(f"{words} on {figure['split']}: {_figures(figure)}")
    line("")
    if summary["labels"]:
        line(f"labels: {_near(summary['labels'])}")
    line(f"tables: {_near(summary['workspace'])} (run {summary['run_id']})")
    if "pseudolabel" in {stage["stage"] for stage in summary["stages"]}:
        line(f'try: {_program()} query "{_QUERY}"{_workspace_option(summary["workspace"])}')


def _why_nothing_ran(stages: list[dict[str, Any]]) -> str:
    waited = {stage["stage"]: stage["reason"] for stage in stages if stage["reason"].startswith(MEANWHILE)}
    if not waited:
        return "Nothing is stale: every stage is reused."
    reasons = "; ".join(dict.fromkeys(waited.values()))
    return f"This run waited for another and reuses its work: {', '.join(waited)} {reasons}."


def _notes(ran: list[dict[str, Any]]) -> list[str]:
    """What the stages had to say, but for `read`, whose rejects are listed by reason."""
    return [f"{stage['stage']}: {note}" for stage in ran if stage["stage"] != "read" for note in stage["notes"]]


def _near(path: str) -> str:
    """Write a path as seen from here, if it is below here."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def _within(reason: str, workspace: str) -> str:
    """Write the files of the workspace that a reason names as seen from there: a column is narrow."""
    return reason.replace(f"{workspace}{os.sep}", "")


def _program() -> str:
    """Say how this program can be called: by its name if the shell finds it."""
    return "fractal" if shutil.which("fractal") else _near(str(Path(sys.argv[0]).absolute()))


def _workspace_option(workspace: str) -> str:
    return "" if Path(workspace) == Path.cwd() / ".fractal" else f" --workspace {_near(workspace)}"


def plan_rows(steps: Sequence[StagePlan]) -> list[dict[str, Any]]:
    """Return a plan as JSON values."""
    return [{"stage": step.stage, "decision": step.decision, "reasons": list(step.reasons)} for step in steps]


def print_plan(steps: Sequence[StagePlan], workspace: Workspace, console: Console) -> None:
    """Print a plan for a person."""
    words = {"reuse": "reuse", "run": "run", "wait": "run?"}
    table = Table("stage", "", "why", "what it does", box=None, pad_edge=False, header_style="bold")
    for step in steps:
        why = _within("; ".join(step.reasons), str(workspace.root))
        table.add_row(step.stage, words[step.decision], why, stage_named(step.stage).summary)
    console.print(table, markup=False)


def _reject_reasons(read: Artefact | None) -> dict[str, int]:
    if read is None or not read.rows_out.get("rejects"):
        return {}
    counts = Counter(str(reason) for reason in read.table("rejects", ("reason",)).column("reason").to_pylist())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _figures_of(evaluate: Artefact | None, level: str, metric: str) -> list[dict[str, Any]]:
    """One of the figures, a row a split, a key a method."""
    if evaluate is None:
        return []
    splits: dict[str, dict[str, Any]] = {}
    for row in evaluate.table("metrics").to_pylist():
        if row["level"] == level and row["metric"] == metric and row["method"] != INHERITED:
            splits.setdefault(row["split"], {"split": row["split"]})[row["method"]] = row["value"]
    order = {"test": 0, "dev": 1, "train": 2}
    return sorted(splits.values(), key=lambda item: order.get(item["split"], 3))


def _figures(figure: dict[str, Any]) -> str:
    names = [name for name in figure if name != "split"]
    names.sort(key=lambda name: (name != "score", name != "posterior", name))
    return ", ".join(f"{name} {figure[name]:.3f}" for name in names)
