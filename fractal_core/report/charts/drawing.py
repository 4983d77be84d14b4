"""The charts of a page: histograms, reliability, losses; each a row of panels that share their scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fractal_core.report.charts.panel import Panel
from fractal_core.report.distributions import BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from fractal_core.report.distributions import Histogram, Reliability
    from fractal_core.report.losses import Head

# As many as the page has shades for sentences.
SHADES = 7
# 95 % of a normal distribution lie so many standard errors around its mean.
_NORMAL = 1.96


@dataclass(frozen=True)
class Picture:
    """A chart with its heading and what it says in words."""

    title: str
    words: str
    chart: Markup


def draw_histograms(histograms: Sequence[Histogram], rows: str, x_title: str) -> list[Picture]:
    """Draw histograms with bars of the shades that sentences have, and a line at the median.

    Args:
        histograms: of one range.
        rows: what is counted, "sentences" say.
        x_title: what the values are.
    """
    highest = max((max(each.counts) / each.total for each in histograms), default=1.0)
    pictures = []
    for each in histograms:
        median = each.quartiles[1]
        words = f"{each.total:,} {rows}, median {median:.3g}"
        description = f"Histogram of {x_title}, {each.title}: {words}, half of them from {each.quartiles[0]:.3g} to "
        panel = Panel(
            f"{description}{each.quartiles[2]:.3g}.", (each.low, each.high), (0.0, 100 * highest), x_title, y_unit="%"
        )
        width = (each.high - each.low) / BINS
        for place, count in enumerate(each.counts):
            left = each.low + place * width
            if count:
                panel.bar(f"bar shade-{place * SHADES // BINS}", (left, left + width), 100 * count / each.total)
        panel.line("median", [(median, 0.0), (median, 100 * highest)])
        pictures.append(Picture(each.title, words, panel.markup()))
    return pictures


def draw_reliability(found: Sequence[Reliability], low: float, high: float) -> list[Picture]:
    """Draw mean gold labels over mean scores, with 95 % intervals, and the line on which both are equal."""
    pictures = []
    for each in found:
        rows = sum(tenth.rows for tenth in each.tenths)
        words = f"{rows:,} sentences with gold labels"
        pairs = ", ".join(f"{tenth.score:.2g} to {tenth.gold:.2g}" for tenth in each.tenths)
        description = f"Reliability, {each.title}: {words}. Mean score to mean gold label, by tenths: {pairs}."
        panel = Panel(description, (low, high), (low, high), "score", "gold label")
        panel.line("ideal", [(low, low), (high, high)])
        for tenth in each.tenths:
            ends = (tenth.gold - _NORMAL * tenth.error, tenth.gold + _NORMAL * tenth.error)
            panel.line("interval", [(tenth.score, end) for end in ends])
        panel.line("through", [(tenth.score, tenth.gold) for tenth in each.tenths])
        for tenth in each.tenths:
            panel.dot("dot", tenth.score, tenth.gold)
        pictures.append(Picture(each.title, words, panel.markup()))
    return pictures


def draw_losses(heads: Sequence[Head]) -> list[Picture]:
    """Draw the held-out loss of each head by epoch, a line a penalty, the best one thick and with a dot."""
    losses = [loss for head in heads for curve in head.curves for _, loss in curve.points]
    if not losses:
        return []
    low, high = min(losses), max(losses)
    pad = (high - low) / 20 or 0.05
    last = max(1, *(curve.points[-1][0] for head in heads for curve in head.curves))
    pictures = []
    for head in heads:
        best = head.curves[head.best]
        epoch, loss = best.best
        words = f"least {loss:.4f}, after epoch {epoch}" + (f", penalty {best.penalty:g}" if best.penalty else "")
        panel = Panel(
            f"Held-out loss by epoch, {head.name}: {words}.", (0, last), (low - pad, high + pad), "epoch", "loss"
        )
        for place, curve in enumerate(head.curves):
            if place != head.best:
                panel.line("curve", curve.points)
        panel.line("curve best", best.points)
        panel.dot("dot", epoch, loss)
        pictures.append(Picture(head.name, words, panel.markup()))
    return pictures
