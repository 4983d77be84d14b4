"""How far score, response label, pseudo-label and gold label are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.report.numbers import Numbers


@dataclass(frozen=True, eq=False)
class Gaps:
    """By response, in the unit of the scores; NaN where there is nothing to compare.

    Attributes:
        label: [B], between its score and its label; of pairs, by how much the other response leads although this one is
            preferred, or the other way round, and 0 if the scores say what the preference says.
        pseudolabel: [B], the largest between pseudo-label and score of a sentence.
        gold: [B], the largest between gold label and score of a sentence.
    """

    label: NDArray[np.float64]
    pseudolabel: NDArray[np.float64]
    gold: NDArray[np.float64]


def measure_gaps(numbers: Numbers) -> Gaps:
    """Return the gaps of every response."""
    paired = numbers.scale.kind == "preference"
    return Gaps(
        label=np.maximum(-leads(numbers), 0.0) if paired else np.abs(numbers.label - numbers.aggregated),
        pseudolabel=numbers.of_responses(np.abs(numbers.pseudolabel - numbers.score), "max"),
        gold=numbers.of_responses(np.abs(numbers.gold - numbers.score), "max"),
    )


def leads(numbers: Numbers) -> NDArray[np.float64]:
    """Return by how much a response's score exceeds its partner's if it is preferred, or falls short if it is not.

    Returns:
        [B], equal for both of a pair and positive if the scores say what the preference says; NaN for ties, for
        preferences that are not known, and for responses without a partner.
    """
    paired = numbers.pair >= 0
    own = np.where(paired, numbers.aggregated, 0.0)
    total = np.bincount(numbers.pair[paired], weights=own[paired], minlength=1)
    size = np.bincount(numbers.pair[paired], minlength=1)
    whole = paired & (size[numbers.pair] == 2)
    other = np.where(whole, total[numbers.pair] - own, np.nan)
    lead = np.where(numbers.preferred == 1.0, own - other, other - own)
    result: NDArray[np.float64] = np.where(np.isin(numbers.preferred, (0.0, 1.0)), lead, np.nan)
    return result
