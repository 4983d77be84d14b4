"""What Prefect's UI shows of a whole run: its figures, and where its labels and its report are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from fractal_core.labelling import LabellingRun
from fractal_core.summary import summarise


def show_run(run: LabellingRun) -> None:
    """Make the artefacts of a run that has ended its last stage: a summary, table metrics, and the report's link."""
    create_markdown_artifact(_summary(run), key="run", description=f"Run {run.record.run_id}")
    if "evaluate" in run.artefacts:
        metrics = run.artefacts["evaluate"].table("metrics").to_pylist()
        create_table_artifact(key="metrics", table=metrics, description=f"Figures of run {run.record.run_id}")
    report = report_file(run.record.config_path)
    if report is not None:
        create_link_artifact(report.as_uri(), link_text=report.name, key="report", description="The newest report")


def report_file(config_path: str) -> Path | None:
    """Return the HTML report that lies beside a configuration, if there is one."""
    path = Path(config_path).resolve().with_suffix(".html")
    return path if path.is_file() else None


def _summary(run: LabellingRun) -> str:
    summary = summarise(run.workspace, run.record)
    rows = [
        ("run", run.record.run_id),
        ("configuration", run.record.config_path),
        ("responses", f"{summary['responses']:,}"),
        ("sentences", f"{summary['sentences'] or 0:,}"),
        ("rejects", f"{summary['rejects']:,}"),
        ("labels", summary["labels"] or "not exported"),
        ("tables", summary["workspace"]),
    ]
    if find_spec("fractal_core.report") is not None:
        rows.append(("report", f"`fractal report {run.record.config_path}`"))
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: str) -> str:
    """Write text so that no character of it ends the cell or starts HTML."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
