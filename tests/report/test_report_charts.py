"""What the charts of a report show, against the slow obvious way; and that they are drawings that can be read."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_run import memory_run, response

from fractal_core.report.charts.drawing import draw_histograms, draw_losses, draw_reliability
from fractal_core.report.charts.panel import Panel, ticks
from fractal_core.report.distributions import (
    BINS,
    agreement,
    histogram,
    read_reliability,
    scores_by_label,
    scores_by_split,
)
from fractal_core.report.groups import label_groups
from fractal_core.report.losses import read_losses
from fractal_core.report.numbers import read_numbers


def test_histogram_counts_every_value_once():
    """Values outside the range go to the ends, NaN nowhere; quartiles are those of the values as they are."""
    values = np.array([-1.0, 0.0, 0.01, 0.5, 0.999, 1.0, 7.0, np.nan])
    found = histogram("all", values, 0.0, 1.0)
    assert found.total == 7
    assert (found.counts[0], found.counts[BINS // 2], found.counts[-1]) == (3, 1, 3)
    assert found.quartiles == tuple(np.quantile(values[:-1], (0.25, 0.5, 0.75)))
    assert histogram("none", np.array([np.nan]), 0.0, 1.0) is None


def test_histograms_of_splits_and_labels(tmp_path):
    """Sentences by the split and by the label of their response; responses with a label by that label."""
    responses = [
        response("a", [("S.", 0.1), ("S.", 0.9)], 0.0),
        response("b", [("S.", 0.8)], 1.0, split="test"),
        response("c", [("S.", 0.7)], None, split="test"),
    ]
    numbers = read_numbers(memory_run(tmp_path, responses))
    groups = label_groups(numbers)
    assert [(h.title, h.total) for h in scores_by_split(numbers)] == [("train", 2), ("test", 2)]
    assert [(h.title, h.total) for h in scores_by_label(numbers, groups)] == [
        ("label 0", 2), ("label 1", 1), ("no label", 1),
    ]  # fmt: skip
    assert [(h.title, h.total, h.quartiles[1]) for h in agreement(numbers, groups)] == [
        ("label 0", 1, 0.1), ("label 1", 1, 0.8),
    ]  # fmt: skip


def test_agreement_of_pairs_counts_each_pair_once(tmp_path):
    """Of preferences one histogram, of the lead of the preferred one, from -1 to 1."""
    responses = [
        response(f"{name}#{side}", [("S.", score)], pair=name, preferred=better)
        for name, scores in (("a", (0.9, 0.4)), ("b", (0.2, 0.4)))
        for side, score, better in zip("ab", scores, (1.0, 0.0), strict=True)
    ]
    numbers = read_numbers(memory_run(tmp_path, responses, kind="preference", aggregation="avg"))
    (found,) = agreement(numbers, label_groups(numbers))
    assert (found.total, found.low, found.high) == (2, -1.0, 1.0)
    assert found.quartiles[1] == pytest.approx(0.15)


def tenth(split, number, score, gold, method="score"):
    """Return a row of table reliability."""
    return {"split": split, "method": method, "bin": number, "score": score, "gold": gold, "error": 0.1, "rows": 7}


def test_reliability_is_that_of_the_table(tmp_path):
    """Of scores alone, in the order of the splits; a split or run without gold has none."""
    rows = [
        *(tenth("test", number, number / 10, number / 20) for number in range(10)),
        tenth("dev", 0, 0.3, 0.4, "posterior"),
        tenth("train", 0, 0.5, 0.6),
    ]
    found = read_reliability(memory_run(tmp_path, [], reliability=rows), ["train", "dev", "test"])
    assert [each.title for each in found] == ["train", "test"]
    assert [(each.score, each.gold, each.error, each.rows) for each in found[0].tenths] == [(0.5, 0.6, 0.1, 7)]
    assert [each.score for each in found[1].tenths] == [number / 10 for number in range(10)]
    assert read_reliability(memory_run(tmp_path, []), ["train"]) == []


def test_losses_keep_the_best_epoch(tmp_path):
    """A curve a penalty, thinned, with its first, last and best epoch."""
    epochs = 1000
    losses = [1.0 + abs(epoch - 433) / epochs for epoch in range(epochs)]
    table = {
        "head": ["noisy"] * 2 * epochs,
        "epoch": pa.array([*range(epochs), *range(epochs)], pa.int32()),
        "penalty": [0.1] * epochs + [0.3] * epochs,
        "held_out_loss": [*losses, *(loss + 1 for loss in losses)],
    }
    pq.write_table(pa.table(table), tmp_path / "history.parquet")
    (head,) = read_losses(tmp_path / "history.parquet")
    assert [curve.penalty for curve in head.curves] == [0.1, 0.3]
    best = head.curves[head.best]
    assert (best.penalty, best.best) == (0.1, (433, 1.0))
    assert (best.points[0][0], best.points[-1][0]) == (0, epochs - 1)
    assert len(best.points) < 300
    words = draw_losses([head])[0].words
    assert words == "least 1.0000, after epoch 433, penalty 0.1"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 3), (-7.5, 32.5), (0.597, 0.6371), (0, 1e-6), (0, 61)])
def test_ticks_are_few_and_inside(low, high):
    """Two to five numbers from one end to the other, evenly apart."""
    found = ticks(low, high)
    assert 2 <= len(found) <= 5
    assert low - 1e-9 <= found[0]
    assert found[-1] <= high * (1 + 1e-9)
    assert np.allclose(np.diff(found), found[1] - found[0])


def test_drawings_are_described_and_escaped():
    """A chart is well-formed SVG with a description for who cannot see it, whatever its texts."""
    panel = Panel('<b> & "both"', (0.0, 1.0), (0.0, 1.0), "</svg><script>")
    panel.bar("bar", (0.0, 0.5), 2.0)
    root = ElementTree.fromstring(str(panel.markup()))
    assert root.get("aria-label") == '<b> & "both"'
    assert [text.text for text in root.iter("text")][-1] == "</svg><script>"
    (bar,) = root.iter("rect")
    assert float(bar.get("height")) + float(bar.get("y")) == 148


def test_pictures_say_what_they_show(tmp_path):
    """The words of a histogram and of a reliability diagram have the numbers."""
    sentences = [("S.", 0.25, 0.0, 0.0), ("S.", 0.75, 1.0, 1.0)]
    numbers = read_numbers(memory_run(tmp_path, [response("a", sentences, 1.0)]))
    (bars,) = draw_histograms(scores_by_split(numbers), "sentences", "score")
    assert (bars.title, bars.words) == ("train", "2 sentences, median 0.5")
    assert bars.chart.count("<rect") == 2
    run = memory_run(tmp_path, [], reliability=[tenth("train", 0, 0.25, 0.0), tenth("train", 1, 0.75, 1.0)])
    (dots,) = draw_reliability(read_reliability(run, ["train"]), 0.0, 1.0)
    assert "0.25 to 0, 0.75 to 1" in dots.chart
    assert dots.chart.count("<circle") == 2
