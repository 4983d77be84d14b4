"""Timing in turns: everything is run once a round, so that a machine that slows down slows all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

TIMES = 5


class Seconds(NamedTuple):
    """What one run took: CPU seconds of the process, and seconds on the clock."""

    cpu: float
    wall: float


Rounds = dict[str, list[Seconds]]


def take_turns(runs: Mapping[str, Callable[[], object]], times: int = TIMES, warm: bool = True) -> Rounds:
    """Run each in turn, round after round.

    Args:
        runs: what to time, by name.
        times: rounds.
        warm: whether a round that is not timed comes first.
    """
    found: Rounds = {name: [] for name in runs}
    for number in range(-1 if warm else 0, times):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            seconds = Seconds(time.process_time() - cpu, time.perf_counter() - wall)
            if number >= 0:
                found[name].append(seconds)
    return found


def middle(seconds: Sequence[Seconds]) -> Seconds:
    """Return the medians over rounds."""
    return Seconds(median(s.cpu for s in seconds), median(s.wall for s in seconds))


def ratio(found: Rounds, slow: str, fast: str) -> Seconds:
    """Return how many times as long one takes as another: the median over rounds of the ratio in a round."""
    pairs = list(zip(found[slow], found[fast], strict=True))
    return Seconds(median(s.cpu / f.cpu for s, f in pairs), median(s.wall / f.wall for s, f in pairs))


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds on log sizes by least squares: 1 for linear growth, 2 for quadratic."""
    x, y = [math.log(s) for s in sizes], [math.log(s) for s in seconds]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return across / sum((a - x_mean) ** 2 for a in x)


class Growth(NamedTuple):
    """CPU seconds at each size of something."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def slope(self, last: int) -> float:
        """Return the exponent over the last sizes."""
        return exponent(self.sizes[-last:], self.seconds[-last:])


def grow(runs: Mapping[int, Callable[[], object]], times: int) -> Growth:
    """Time something at each size, in turns."""
    found = take_turns({str(size): run for size, run in runs.items()}, times)
    return Growth(tuple(runs), tuple(middle(found[str(size)]).cpu for size in runs))
