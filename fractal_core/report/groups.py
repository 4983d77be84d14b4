"""Responses by what their label says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.report.numbers import Numbers

_MOST_VALUES = 6
_RANGES = 5
_PREFERENCES = ((1.0, "preferred"), (0.0, "not preferred"), (0.5, "tie"))


@dataclass(frozen=True, eq=False)
class Group:
    """Responses alike in their label.

    Attributes:
        title: what they have in common.
        responses: [B] bool.
    """

    title: str
    responses: NDArray[np.bool_]


def label_groups(numbers: Numbers) -> list[Group]:
    """Return the groups of responses that have any: one a label, or five ranges if there are many labels; last, none.

    Every response is in exactly one.
    """
    if numbers.scale.kind == "preference":
        known = numbers.preferred
        groups = [Group(title, known == value) for value, title in _PREFERENCES]
        groups.append(Group("no preference given", np.isnan(known)))
    else:
        known = numbers.label
        values = np.unique(known[~np.isnan(known)])
        groups = _one_a_value(known, values) if len(values) <= _MOST_VALUES else _ranges(known, values)
        groups.append(Group("no label", np.isnan(known)))
    return [group for group in groups if group.responses.any()]


def _one_a_value(label: NDArray[np.float64], values: NDArray[np.float64]) -> list[Group]:
    return [Group(f"label {value:.4g}", label == value) for value in values]


def _ranges(label: NDArray[np.float64], values: NDArray[np.float64]) -> list[Group]:
    edges = np.linspace(values[0], values[-1], _RANGES + 1)
    place = np.minimum(np.searchsorted(edges, label, side="right") - 1, _RANGES - 1)
    place = np.where(np.isnan(label), -1, place)
    return [
        Group(f"label {low:.3g} to {high:.3g}", place == number)
        for number, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True))
    ]
