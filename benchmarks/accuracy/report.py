"""The figures as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.accuracy.methods import METHODS
from benchmarks.accuracy.summary import figure, summary

if TYPE_CHECKING:
    from benchmarks.accuracy.figures import Row
    from benchmarks.accuracy.running import Results

NOTES = """\
Every method sees the same sentences, embeddings and evidence, position features off but in the row that says
otherwise. Linear heads are logistic regressions on standardised evidence with the product's folds, its L2 penalties
and two smaller ones; penalty and epoch are chosen by response labels that the member did not see (cross-fitting and
dev). The rows marked *gold* learn from gold labels of train sentences, and choose by held-out ones. Gold of test is
used for these figures alone.

- **AUC-ROC, AUC-PR**: sentences of test against gold, mean over seeds; [95 % interval] of the seeds' mean score, over
  bootstrap draws of whole responses. Of grades: whether the gold grade is more than 0.
- **response**: the pooled score against the response's label on test (AUC-ROC), or pairs ordered rightly.
- **MAE**: of the expected grade against gold grades; under avg, of the mean score against the share.
- **ECE**: of scores on test, 15 bins of equal mass. A bare prior has no scale.
- **train posterior**: AUC-ROC and ECE of P(sentence | response label) on the labelled train responses, from scores that
  were cross-fitted. The paper's scorer is one model chosen by dev, so it has none.
- **paper**: the paper's own figure, on splits, encoders and data of its own: not comparable, only a sense of scale.
- SIL, DLLP and EasyLLP read a label of 0 or 1 under min and max as the proportion; top-k and optimal transport take the
  least that agrees with it: one bad or one good sentence. On pairs these five take won, lost or tied as the proportion.
  Ordinal labels: one binary problem a grade, expected grade.
- A bare prior of a family in which the set has nothing (no context, no query) is left out."""


def report(
    results: Sequence[Results], rows: Mapping[str, Mapping[str, Row]], command: str, machine: str, date: str
) -> str:
    """Return the whole report.

    Args:
        results: of every set.
        rows: set -> method -> figures.
        command: that made it.
        machine: what it ran on.
        date: when.
    """
    lines = ["# Accuracy", "", f"`{command}`, {date}, {machine}.", "", NOTES, ""]
    lines += summary(rows)
    for result in results:
        lines += ["", f"## {result.dataset.name}", "", *_set_table(result, rows[result.dataset.name])]
    failed = [f"- {r.dataset.name}, {name}: {why}" for r in results for name, why in r.failures.items()]
    if failed:
        lines += ["", "## Failed", "", *failed]
    return "\n".join(lines) + "\n"


def _set_table(result: Results, rows: Mapping[str, Row]) -> list[str]:
    dataset = result.dataset
    count = max((row.sentences for row in rows.values()), default=0)
    shared = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items())
    kind = "" if dataset.label_kind == "auto" else f", {dataset.label_kind} labels"
    gold = ""
    if dataset.gold_from:
        gold = f" Gold, and the supervised rows, are of the same answers in {dataset.gold_from}."
    lines = [
        f"Aggregation {dataset.pooling}{kind}. {result.responses.num_rows:,} responses, "
        f"{result.sentences.num_rows:,} sentences, {count:,} of test with gold.{gold} Seconds shared by all: {shared}.",
        "",
        "| method | AUC-ROC | AUC-PR | response | MAE | ECE | train posterior AUC | ECE | seconds | paper |",
        "|---" * 10 + "|",
    ]
    for name, row in rows.items():
        method = METHODS[name]
        cells = [
            method.heading,
            with_interval(row.auc, row.auc_low, row.auc_high),
            with_interval(row.pr, row.pr_low, row.pr_high),
            *(figure(value) for value in (row.response, row.error, row.ece, row.train, row.train_ece)),
            "-" if method.prior else f"{row.seconds:.1f}",
            figure(dataset.paper.get(name, math.nan)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def with_interval(value: float, low: float, high: float) -> str:
    """Return a figure with its interval."""
    return figure(value) if math.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
