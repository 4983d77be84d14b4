"""The summary: every method on every set, the ratio to supervision, the margin over the priors, and the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from benchmarks.accuracy.methods import METHODS
from benchmarks.accuracy.sets import ECE_TARGET, MEAN_TARGETS, SETS

if TYPE_CHECKING:
    from benchmarks.accuracy.figures import Row

    Rows = Mapping[str, Mapping[str, Row]]

PRODUCT, BOUND = "fractal", "supervised"
_DASH = "-"
_HEADLINE = [name for name, dataset in SETS.items() if dataset.headline]


def summary(rows: Rows) -> list[str]:
    """Return the lines of the summary of set -> method -> figures."""
    names = list(rows)
    seven = [name for name in names if name in _HEADLINE]
    mean = f"mean of {len(seven)}" if len(seven) < len(_HEADLINE) else "mean of the seven"
    lines = ["## Sentence AUC-ROC on test", "", f"| method | {mean} | {' | '.join(names)} |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for method in (m for m in METHODS if any(m in rows[name] for name in names)):
        cells = [figure(rows[name][method].auc) if method in rows[name] else _DASH for name in names]
        lines.append(f"| {METHODS[method].heading} | {figure(mean_auc(rows, seven, method))} | {' | '.join(cells)} |")
    product = [name for name in names if PRODUCT in rows[name]]
    if product:
        lines += ["", "## Against supervision and against the best bare prior", "", *_comparison(rows, product)]
        targets = list(_targets(rows, seven))
        if targets:
            lines += [
                "",
                "## Targets",
                "",
                "| figure | reached | aimed at | hoped for |",
                "|---|---|---|---|",
                *targets,
            ]
    return lines


def mean_auc(rows: Rows, names: list[str], method: str) -> float:
    """Return the mean AUC-ROC of a method over sets; NaN if it lacks one of them."""
    values = [rows[name][method].auc for name in names if method in rows[name]]
    return sum(values) / len(values) if values and len(values) == len(names) else math.nan


def best_prior(rows: Mapping[str, Row]) -> tuple[str, float]:
    """Return the bare prior of highest AUC-ROC on test, chosen by gold: the hardest one to beat."""
    found = {name: row.auc for name, row in rows.items() if METHODS[name].prior and not math.isnan(row.auc)}
    name = max(found, key=found.__getitem__, default="")
    return name, found.get(name, math.nan)


def _comparison(rows: Rows, names: list[str]) -> list[str]:
    lines = ["| set | fractal | supervised *gold* | ratio | best bare prior | margin |", "|---|---|---|---|---|---|"]
    ratios, margins = [], []
    for name in names:
        ours = rows[name][PRODUCT].auc
        bound = rows[name][BOUND].auc if BOUND in rows[name] else math.nan
        prior, value = best_prior(rows[name])
        ratios.append(ours / bound)
        margins.append(ours - value)
        lines.append(
            f"| {name} | {figure(ours)} | {figure(bound)} | {_percent(ratios[-1])} | {figure(value)} "
            f"({prior.replace('_', ' ')}) | {_signed(margins[-1])} |"
        )
    kept = [r for r in ratios if not math.isnan(r)]
    better = [m for m in margins if not math.isnan(m)]
    ratio, margin = (sum(v) / len(v) if v else math.nan for v in (kept, better))
    return [*lines, f"| mean | | | {_percent(ratio)} | | {_signed(margin)} |"]


def _targets(rows: Rows, seven: list[str]) -> Iterator[str]:
    for name in seven:
        targets = SETS[name].targets
        if targets and PRODUCT in rows[name]:
            yield _target(f"{name}: sentence AUC-ROC on test", rows[name][PRODUCT].auc, *targets)
    complete = len(seven) == len(_HEADLINE)
    if complete:
        yield _target("mean of the seven", mean_auc(rows, seven, PRODUCT), *MEAN_TARGETS)
    for name in seven:
        target = SETS[name].train_target
        if target and PRODUCT in rows[name]:
            yield _target(f"{name}: AUC-ROC of the posterior on train", rows[name][PRODUCT].train, target)
    for what, field in (("scores on test", "ece"), ("the posterior on train", "train_ece")):
        values = [getattr(rows[name][PRODUCT], field) for name in seven if PRODUCT in rows[name]]
        if complete and values:
            yield _target(f"mean ECE of {what}", sum(values) / len(values), ECE_TARGET, below=True)


def _target(what: str, value: float, aim: float, hope: float | None = None, *, below: bool = False) -> str:
    def mark(target: float) -> str:
        reached = value < target if below else value >= target
        return f"{'below ' if below else ''}{target:.3f}: **{'reached' if reached else 'not reached'}**"

    return f"| {what} | {figure(value)} | {mark(aim)} | {mark(hope) if hope is not None else _DASH} |"


def figure(value: float) -> str:
    """Return a figure with three decimals, or a dash for NaN."""
    return _DASH if math.isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return _DASH if math.isnan(value) else f"{100 * value:.1f} %"


def _signed(value: float) -> str:
    return _DASH if math.isnan(value) else f"{value:+.3f}"
