"""`fractal status`: the runs of a workspace, what each holds on disk, and what is being served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fractal_core.store.artefact import find_artefact
from fractal_core.store.leftovers import size_of
from fractal_core.store.manifest import manifest_path
from fractal_core.store.runs import RunRecord, list_runs, seconds_of
from fractal_core.store.services import list_services
from fractal_core.store.workspace import Workspace
from fractal_core.summary import summarise

_COLOURS = {"completed": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "unreadable": "red"}
# What the table shows of the figures of a run: the first of these that it has, on the first split that has it.
_FIGURES = {"sentence_auc": "AUC", "sentence_mae": "MAE", "preference_accuracy": "acc"}
_WIDE = 110


def take_status(workspace: Workspace, last: int) -> dict[str, Any]:
    """Return what there is of a workspace, as JSON values.

    `bytes_alone` of a run is what only this run holds: its record, and the artefacts that no other run names.

    Args:
        workspace: whose runs.
        last: how many runs to describe, counted from the newest.
    """
    runs = list_runs(workspace)
    holders = Counter(item for run in runs for item in set(run.fingerprints().items()))
    return {
        "workspace": str(workspace.root),
        "bytes": size_of(workspace.root),
        "services": [asdict(service) for service in list_services(workspace)],
        "runs_in_all": len(runs),
        "runs": [_describe(workspace, run, holders) for run in runs[:last]],
    }


def _describe(workspace: Workspace, run: RunRecord, holders: Counter[tuple[str, str]]) -> dict[str, Any]:
    summary = summarise(workspace, run)
    alone = [item for item in run.fingerprints().items() if holders[item] == 1]
    return {
        "run_id": run.run_id,
        "state": run.state,
        "config": run.config_path,
        "started": run.started,
        "ended": run.ended,
        "seconds": _so_far(run) if run.state == "running" else seconds_of(run),
        "computed": [stage.stage for stage in run.stages if not stage.reused],
        "rows_computed": sum(stage.rows_computed for stage in run.stages),
        **{key: summary[key] for key in ("responses", "sentences", "rejects", *_FIGURES)},
        "bytes_alone": size_of(workspace.runs / f"{run.run_id}.json") + sum(_size(workspace, *item) for item in alone),
        "error": run.error,
    }


def _so_far(run: RunRecord) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(run.started)).total_seconds()


def _size(workspace: Workspace, stage: str, fingerprint: str) -> int:
    artefact = find_artefact(workspace, stage, fingerprint)
    if artefact is None:
        return 0
    return size_of(artefact.folder) + size_of(manifest_path(workspace, stage, fingerprint))


def print_status(status: dict[str, Any], console: Console) -> None:
    """Print it for a person: a table that fits 80 columns, why runs failed, and what is being served."""

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if status["runs"]:
        console.print(_table(status["runs"], wide=console.width >= _WIDE))
    for run in status["runs"]:
        if run["error"]:
            line(f"{_when(run['started'])} {run['state']}: {run['error']}")
    rest = status["runs_in_all"] - len(status["runs"])
    line(f"{status['runs_in_all']:,} runs{f', {rest:,} more than listed' if rest else ''}")
    line(f"workspace {status['workspace']}: {_size_words(status['bytes'])}")
    for service in status["services"]:
        who = f"process {service['pid']} on {service['host']} since {_when(service['since'])}"
        what = f"{service['config']}, {service['when']}, overlap {service['overlap']}; " if service["config"] else ""
        line(f"{service['kind']}: {what}Prefect UI {service['url']} ({who})")


def _table(runs: Sequence[dict[str, Any]], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if wide:
        table.add_column("run", no_wrap=True)
    table.add_column("when", no_wrap=True)
    table.add_column("config", no_wrap=True, max_width=None if wide else 10)
    table.add_column("state", no_wrap=True)
    for name in ("seconds", "sentences", "rejects"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("figure", no_wrap=True)
    table.add_column("alone", no_wrap=True, justify="right")
    for run in runs:
        cells = [
            _when(run["started"]),
            Path(run["config"]).stem,
            f"[{_COLOURS[run['state']]}]{run['state']}",
            "" if run["seconds"] is None else f"{run['seconds']:,.0f}",
            "" if run["sentences"] is None else f"{run['sentences']:,}",
            f"{run['rejects']:,}",
            _figure(run),
            _size_words(run["bytes_alone"]),
        ]
        table.add_row(*([run["run_id"], *cells] if wide else cells))
    return table


def _figure(run: dict[str, Any]) -> str:
    for key, words in _FIGURES.items():
        for figure in run[key]:
            if "score" in figure:
                return f"{words} {figure['score']:.3f}"
    return ""


def _when(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%m-%d %H:%M}"


def _size_words(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
