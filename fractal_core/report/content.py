"""What stands in the page, but for the list: values of its templates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fractal_core.report.charts.drawing import SHADES, draw_histograms, draw_losses, draw_reliability
from fractal_core.report.distributions import agreement, read_reliability, scores_by_label, scores_by_split
from fractal_core.report.figures import METRICS, headline, read_figures
from fractal_core.report.losses import read_losses
from fractal_core.report.overview import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.report.groups import Group
    from fractal_core.report.numbers import Numbers
    from fractal_core.report.scale import Scale
    from fractal_core.results import Results

_AGGREGATES = {
    "min": ("lowest score of its sentences", "lowest sentence"),
    "max": ("highest score of its sentences", "highest sentence"),
    "avg": ("mean score of its sentences", "mean of sentences"),
}


def contents(results: Results, numbers: Numbers, groups: Sequence[Group]) -> dict[str, Any]:
    """Return summary, figures and charts of a run, and the words in which the page speaks of its labels."""
    scale = numbers.scale
    found = read_figures(results)
    histograms = {
        "by_split": scores_by_split(numbers),
        "by_label": scores_by_label(numbers, groups),
        "agreement": agreement(numbers, groups),
    }
    reliable = read_reliability(results, numbers.splits())
    words, short = _AGGREGATES[scale.aggregation]
    paired = scale.kind == "preference"
    rows = "pairs" if paired else "responses"
    return {
        "overview": describe(results),
        "counts": {name: results.rows(name) for name in ("responses", "sentences", "rejects")},
        "figures": found,
        "headline": headline(found),
        "metrics": METRICS,
        "histograms": histograms,
        "reliability": reliable,
        "pictures": {
            "by_split": draw_histograms(histograms["by_split"], "sentences", "score"),
            "by_label": draw_histograms(histograms["by_label"], "sentences", "score"),
            "agreement": draw_histograms(histograms["agreement"], rows, "lead" if paired else short),
            "reliability": draw_reliability(reliable, scale.low, scale.high),
            "losses": draw_losses(read_losses(results.file("train", "history.parquet"))),
        },
        "aggregation": scale.aggregation,
        "paired": paired,
        "labelled": not np.isnan(numbers.preferred if paired else numbers.label).all(),
        "has_gold": not np.isnan(numbers.gold).all(),
        "aggregate_words": words,
        "aggregate_short": short,
        "apart_words": _apart_words(scale),
        "splits": numbers.splits(),
        "groups": [group.title for group in groups],
        "shades": _shades(scale),
    }


def _apart_words(scale: Scale) -> dict[str, str]:
    """Say what is shown when only what disagrees is."""
    label = f"score and label differ by more than {scale.response_apart:.3g}"
    if scale.kind == "preference":
        label = "scores contradict the preference"
    return {
        "label": label,
        "pseudolabel": f"some pseudo-label and score differ by more than {scale.sentence_apart:.3g}",
        "gold": f"some gold label and score differ by more than {scale.sentence_apart:.3g}",
    }


def _shades(scale: Scale) -> list[tuple[str, str]]:
    """Return the lower and upper end of the scores of each shade."""
    decimals = max(0, 2 - math.floor(math.log10(scale.high - scale.low)))
    edges = np.linspace(scale.low, scale.high, SHADES + 1)
    words = [f"{edge:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for edge in edges]
    return list(zip(words[:-1], words[1:], strict=True))
