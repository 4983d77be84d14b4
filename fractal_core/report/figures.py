"""Table metrics, arranged for a page: a table for each level and split, scores beside priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fractal_core.label_kinds import INHERITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.results import Results

# Metric -> what it is called, and whether more is better.
METRICS = {
    "auc_roc": ("AUC-ROC", True),
    "auc_pr": ("AUC-PR", True),
    "accuracy": ("accuracy", True),
    "f1": ("F1", True),
    "mae": ("mean abs. error", False),
    "log_loss": ("log loss", False),
    "ece": ("calibration error", False),
}
_LEARNED = ("score", "posterior", "pseudolabel")
_SPLITS = ("test", "dev", "train")
_LEVELS = ("sentence", "response")
_TELLING = ("auc_roc", "accuracy", "mae")


@dataclass(frozen=True)
class Row:
    """A method: its figure for each metric of the table, None where it has none, and the rows they are taken over."""

    method: str
    learned: bool
    values: list[float | None]
    rows: int


@dataclass(frozen=True)
class Figures:
    """The figures of one split at one level; the best prior for each metric is what a score has to beat."""

    level: str
    split: str
    metrics: list[str]
    rows: list[Row]

    def of(self, method: str, metric: str) -> float | None:
        """Return a figure, or None."""
        found = (row.values[self.metrics.index(metric)] for row in self.rows if row.method == method)
        return next(found, None) if metric in self.metrics else None

    def best_prior(self, metric: str) -> tuple[str, float] | None:
        """Return the prior with the best figure, and that figure."""
        names = [row.method for row in self.rows if not row.learned and row.method != INHERITED]
        known = [(name, value) for name in names if (value := self.of(name, metric)) is not None]
        _, more = METRICS[metric]
        return max(known, key=lambda each: each[1] if more else -each[1], default=None)


@dataclass(frozen=True)
class Headline:
    """The figure that says most of a run: of the score, beside that of the best prior if there is one."""

    title: str
    value: float
    versus: tuple[str, float] | None


def headline(found: Sequence[Figures]) -> Headline | None:
    """Return the first figure of the score that there is: of sentences before responses, on test before dev and train.

    Args:
        found: as `read_figures` returns them.
    """
    for part in found:
        for metric in _TELLING:
            value = part.of("score", metric)
            if value is not None:
                return Headline(f"{METRICS[metric][0]} of {part.level}s, {part.split}", value, part.best_prior(metric))
    return None


def read_figures(results: Results) -> list[Figures]:
    """Return the tables of a run: sentences before responses, test before dev before train; empty without figures."""
    if not results.rows("metrics"):
        return []
    rows = results.table("metrics", ("split", "level", "method", "metric", "value", "rows")).to_pylist()
    found = []
    for level in _LEVELS:
        for split in _SPLITS:
            values = {(r["method"], r["metric"]): r for r in rows if r["level"] == level and r["split"] == split}
            if values:
                found.append(_arranged(level, split, values))
    return found


def _arranged(level: str, split: str, values: dict[tuple[str, str], dict[str, float]]) -> Figures:
    metrics = [name for name in METRICS if any(metric == name for _, metric in values)]
    methods = sorted({method for method, _ in values}, key=lambda name: (_place(name), name))
    table = []
    for method in methods:
        mine = [values.get((method, metric)) for metric in metrics]
        counted = max(int(each["rows"]) for each in mine if each is not None)
        shown = [None if each is None else float(each["value"]) for each in mine]
        table.append(Row(method, method in _LEARNED, shown, counted))
    return Figures(level, split, metrics, table)


def _place(method: str) -> int:
    return _LEARNED.index(method) if method in _LEARNED else len(_LEARNED)
