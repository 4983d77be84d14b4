"""Table metrics on a terminal: a table for each level and split, a row a method, scores before priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fractal_core.errors import UsageError
from fractal_core.label_kinds import INHERITED

SPLITS = ("test", "dev", "train")
_LEVELS = {"sentence": "Sentences against gold labels", "response": "Responses against their labels"}
_FIRST = ("score", "posterior", "pseudolabel", INHERITED)
# Where the interval of a figure goes: the first of these for which there is room.
_BESIDE, _BELOW, _NOWHERE = "beside", "below", "nowhere"
_METRICS = ("auc_roc", "auc_pr", "f1", "accuracy", "mae", "log_loss", "ece")


def of_split(metrics: Sequence[Mapping[str, Any]], split: str | None) -> list[Mapping[str, Any]]:
    """Return the figures of a split, or all.

    Args:
        metrics: rows of table metrics.
        split: None for all.

    Raises:
        UsageError: if there is no such split, or no figure at all.
    """
    splits = _splits(metrics)
    if split is not None and split not in splits:
        known = f"there are {', '.join(splits)}" if splits else "there are none without labels to compare with"
        raise UsageError(f"There are no figures of split {split}; {known}.")
    if not metrics:
        raise UsageError("There is nothing to compare the scores with: neither gold labels nor response labels.")
    return [row for row in metrics if split in (None, row["split"])]


def print_figures(
    metrics: Sequence[Mapping[str, Any]], reliability: Sequence[Mapping[str, Any]], console: Console
) -> None:
    """Print rows of table metrics with their intervals, and the reliability of scores."""
    left_out = False
    for name in _splits(metrics):
        for level in _LEVELS:
            rows = [row for row in metrics if row["split"] == name and row["level"] == level]
            if rows:
                # Not as the table's title, which would be broken at the width of a narrow table.
                console.print(f"{_LEVELS[level]}, {name}", style="italic", highlight=False)
                table, where = _fitting(rows, console)
                console.print(table)
                left_out |= where == _NOWHERE
        tenths = [row for row in reliability if (row["split"], row["method"]) == (name, "score")]
        if tenths:
            console.print(f"Tenths of the sentences by score, {name}", style="italic", highlight=False)
            console.print(_curve(tenths))
    said = "A wider terminal shows" if left_out else "With each figure:"
    said += " 95 % bootstrap intervals over responses."
    if any(row["metric"] == "f1" for row in metrics):
        said += " Accuracy and F1 are at the thresholds that are best on dev."
    console.print(said, highlight=False)


def _splits(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in SPLITS if any(row["split"] == name for row in metrics)]


def _fitting(rows: Sequence[Mapping[str, Any]], console: Console) -> tuple[Table, str]:
    """Return the table with its intervals where they fit, and where that is."""
    for where in (_BESIDE, _BELOW, _NOWHERE):
        table = _table(rows, where)
        if console.measure(table).maximum < console.width:
            break
    return table, where


def _table(rows: Sequence[Mapping[str, Any]], where: str) -> Table:
    found = {(row["method"], row["metric"]): row for row in rows}
    metrics = [name for name in _METRICS if any(metric == name for _, metric in found)]
    methods = sorted({method for method, _ in found}, key=lambda name: (_place(name), name))
    padding = (0, 1) if where == _BELOW else (0, 2)
    table = Table("method", *metrics, "rows", box=None, header_style="bold", padding=padding, collapse_padding=True)
    for column in table.columns:
        column.no_wrap = True
    for method in methods:
        mine = [found.get((method, metric)) for metric in metrics]
        counted = max(row["rows"] for row in mine if row is not None)
        table.add_row(method, *("" if row is None else _cell(row, where) for row in mine), f"{counted:,}")
    return table


def _curve(tenths: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, show_header=False)
    for what, column in (("mean score", "score"), ("mean gold label", "gold")):
        table.add_row(what, *(f"{row[column]:.2f}" for row in tenths))
    return table


def _place(method: str) -> int:
    return _FIRST.index(method) if method in _FIRST else len(_FIRST)


def _cell(row: Mapping[str, Any], where: str) -> str:
    value = f"{row['value']:.3f}"
    if where == _NOWHERE or row["low"] is None:
        return value
    if where == _BESIDE:
        return f"{value} ({row['low']:.3f}-{row['high']:.3f})"
    short = "-".join(f"{bound:.2f}".removeprefix("0") for bound in (row["low"], row["high"]))
    return f"{value}\n[dim]{short}[/dim]"
