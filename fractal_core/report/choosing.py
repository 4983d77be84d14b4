"""Which responses a page lists if there are more than it can hold."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.report.gaps import Gaps
    from fractal_core.report.numbers import Numbers

# Characters of text in a page: about as many bytes, several times that in the browser's memory.
BUDGET = 40_000_000
_STRIKING = 5


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows of the responses that are listed, in the order of the table, and what was left out.

    Attributes:
        rows: [L] int64.
        total: number of responses in the run.
        striking: those that were chosen because score and label, or pseudo-label and score, are far apart.
        limit: most responses asked for.
        full: whether fewer than `limit` are listed because their texts are long.
    """

    rows: NDArray[np.int64]
    total: int
    striking: int
    limit: int
    full: bool


def choose(numbers: Numbers, gaps: Gaps, sizes: NDArray[np.int64], limit: int, budget: int = BUDGET) -> Choice:
    """Choose at most `limit` responses of at most `budget` characters; all of them if they fit.

    Otherwise a fifth are those with the largest gap between score and label (without labels, between pseudo-label and
    score), and the others are drawn by a hash of their id: evenly, and the same ones whatever the order of the input.

    Args:
        numbers: of the run.
        gaps: of its responses.
        sizes: [B], characters that each would take in the page.
        limit: at least 1.
        budget: characters of all that are listed; one response is listed whatever its size.
    """
    total = len(sizes)
    if total <= limit and int(sizes.sum()) <= budget:
        return Choice(np.arange(total), total, 0, limit, full=False)
    number = min(limit, total)
    drawn = np.argsort(_hashes(numbers), kind="stable")
    widest = _widest(gaps)[: number // _STRIKING]
    # A striking response after every four drawn ones, so that whatever the budget admits is mixed alike.
    order = _mixed(widest, drawn[~np.isin(drawn, widest)])[:number]
    fitting = max(int(np.searchsorted(np.cumsum(sizes[order]), budget, side="right")), 1)
    chosen = order[:fitting]
    striking = int(np.isin(chosen, widest).sum())
    return Choice(np.sort(chosen), total, striking, limit, full=fitting < number)


def _widest(gaps: Gaps) -> NDArray[np.int64]:
    """Return the rows that have a gap, widest first."""
    gap = gaps.pseudolabel if np.isnan(gaps.label).all() else gaps.label
    order = np.argsort(-gap, kind="stable")
    return order[: int((~np.isnan(gap)).sum())]


def _mixed(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    place_first = np.arange(len(first)) * _STRIKING
    place_second = np.arange(len(second)) * _STRIKING / (_STRIKING - 1)
    order = np.argsort(np.concatenate((place_first, place_second)), kind="stable")
    mixed: NDArray[np.int64] = np.concatenate((first, second))[order]
    return mixed


def _hashes(numbers: Numbers) -> NDArray[np.uint64]:
    digests = (blake2b(str(name).encode(), digest_size=8).digest() for name in numbers.ids.to_pylist())
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
