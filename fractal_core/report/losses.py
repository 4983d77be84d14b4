"""Held-out loss by epoch, as training recorded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

_POINTS = 200


@dataclass(frozen=True)
class Curve:
    """Losses of a head at one penalty: (epoch, loss), at most about `_POINTS` of them, the best among them."""

    penalty: float
    points: list[tuple[int, float]]

    @property
    def best(self) -> tuple[int, float]:
        """The epoch with the least loss, and that loss."""
        return min(self.points, key=lambda point: (point[1], point[0]))


@dataclass(frozen=True)
class Head:
    """What was trained under one name; `best` is the place of the curve with the least loss."""

    name: str
    curves: list[Curve]

    @property
    def best(self) -> int:
        """Place of the curve with the least loss."""
        return min(range(len(self.curves)), key=lambda place: self.curves[place].best[1])


def read_losses(path: Path) -> list[Head]:
    """Read history.parquet; an empty list if nothing was trained."""
    table = pq.read_table(path, columns=["head", "epoch", "penalty", "held_out_loss"])
    curves: dict[str, dict[float, list[tuple[int, float]]]] = {}
    for head, epoch, penalty, loss in zip(*(column.to_pylist() for column in table.columns), strict=True):
        curves.setdefault(head, {}).setdefault(penalty, []).append((epoch, loss))
    return [
        Head(name, [Curve(penalty, _thinned(points)) for penalty, points in sorted(found.items())])
        for name, found in curves.items()
    ]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = -(-len(points) // _POINTS)
    best = min(range(len(points)), key=lambda place: points[place][1])
    return [point for place, point in enumerate(points) if place % step == 0 or place in (best, len(points) - 1)]
