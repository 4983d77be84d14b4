"""Figures on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fractal_core.evaluation.showing import print_figures


def figure(level: str, metric: str) -> dict[str, object]:
    """A row of table metrics."""
    numbers = {"value": 0.5, "rows": 9, "low": 0.4, "high": 0.6}
    return {"split": "test", "level": level, "method": "score", "metric": metric, **numbers}


@pytest.mark.parametrize("metric", ["mae", "f1"])
def test_a_narrow_table(metric: str) -> None:
    """What it shows stands above it in one line; a threshold is told of only where there is one."""
    console = Console(file=io.StringIO(), width=200)
    print_figures([figure("response", metric)], [], console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert lines[0] == "Responses against their labels, test"
    assert lines[1].split() == ["method", metric, "rows"]
    assert lines[2].split() == ["score", "0.500", "(0.400-0.600)", "9"]
    assert lines[-1].endswith("best on dev.") == (metric == "f1")


@pytest.mark.parametrize(
    ("width", "shown"), [(200, "0.500 (0.400-0.600)"), (80, ".40-.60"), (60, "A wider terminal shows")]
)
def test_intervals_go_where_they_fit(width: int, shown: str) -> None:
    """Beside the figures, below them, or nowhere with a line that says so."""
    console = Console(file=io.StringIO(), width=width)
    metrics = ("auc_roc", "auc_pr", "f1", "accuracy", "log_loss", "ece")
    rows = [{**figure("sentence", metric), "method": "document_similarity"} for metric in metrics]
    print_figures(rows, [], console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert [part for part in ("0.500 (0.400-0.600)", ".40-.60", "A wider terminal shows") if part in text] == [shown]
    if width >= 80:
        assert text.count("0.500") == len(metrics)


def test_reliability_of_scores() -> None:
    """Tenths of a split stand below its figures: mean scores above mean gold labels; posteriors are left out."""
    console = Console(file=io.StringIO(), width=200)
    curve = [
        {"split": "test", "method": method, "bin": number, "score": number / 4, "gold": number / 8}
        for method in ("posterior", "score")
        for number in range(2)
    ]
    print_figures([figure("sentence", "mae")], curve, console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert lines[3] == "Tenths of the sentences by score, test"
    assert [line.split() for line in lines[4:6]] == [
        ["mean", "score", "0.00", "0.25"], ["mean", "gold", "label", "0.00", "0.12"],
    ]  # fmt: skip
