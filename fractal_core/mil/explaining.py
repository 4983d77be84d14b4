"""Which evidence moved a sentence's score, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from fractal_core.mil.scorers.features import dense
from fractal_core.mil.scorers.linear import contributions
from fractal_core.mil.starting import LINEAR, NO_PRIOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.mil.ensemble import Component
    from fractal_core.mil.examples import Examples

STRONGEST = 10
_ROWS_AT_ONCE = 65_536


def contribution_rows(
    keys: pa.Table, components: list[Component], examples: Examples, features: Sequence[str]
) -> list[pa.Table]:
    """Return rows of table contributions, in pieces: the strongest reasons for each sentence's mean logit.

    Features and priors are centred on train sentences, so a contribution compares a sentence with an average one.

    Args:
        keys: response_id and sentence_index of N sentences.
        components: the ensemble; none but linear scorers explain themselves, and if there is another, nothing is said.
        examples: features and priors.
        features: names of the F features.
    """
    if any(component.scorer != LINEAR or component.given is not None for component in components):
        return []
    families = sorted({c.family for c in components if c.family != NO_PRIOR})
    shown = list(features) if any(c.parameters["weights"].shape[-1] for c in components) else []
    names = pa.array([*shown, *(f"{family} prior" for family in families)], pa.string())
    pieces = []
    for start in range(0, keys.num_rows, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        these = keys.slice(start, _ROWS_AT_ONCE)
        matrix = dense(examples.features[rows])[:, : len(shown)] if shown else torch.zeros(len(these), 0)
        priors = {family: examples.priors[family][rows] for family in families}
        z = torch.cat([matrix, *(prior[:, None] for prior in priors.values())], dim=1).numpy()
        total = np.zeros_like(z)
        for component in components:
            wide = component.parameters["weights"].shape[-1]
            prior = priors.get(component.family, torch.zeros(len(z)))
            parts = component.share * contributions(component.parameters, matrix[:, :wide], prior).numpy()
            total[:, :wide] += parts[:, :-1]
            if component.family != NO_PRIOR:
                total[:, len(shown) + families.index(component.family)] += parts[:, -1]
        pieces.append(_strongest(these, z, total, names))
    return pieces


def _strongest(keys: pa.Table, z: np.ndarray, total: np.ndarray, names: pa.Array[Any]) -> pa.Table:
    """Return the largest contributions of each sentence, of equal ones the first; none that are 0."""
    order = np.argsort(-np.abs(total), axis=1, kind="stable")[:, :STRONGEST]
    chosen = np.take_along_axis(total, order, axis=1)
    row, rank = np.nonzero(chosen)
    feature = order[row, rank]
    return (
        keys.take(pa.array(row, pa.int64()))
        .append_column("rank", pa.array(rank + 1, pa.int32()))
        .append_column("feature", names.take(pa.array(feature, pa.int64())))
        .append_column("z", pa.array(z[row, feature], pa.float32()))
        .append_column("contribution", pa.array(total[row, feature], pa.float32()))
    )
