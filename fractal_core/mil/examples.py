"""What the trainer sees: standardised evidence, the prior, and ragged bags with labels, splits and folds."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import torch

from fractal_core.mil.segments import Segments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fractal_core.mil.losses import SentencePairs

NO_FOLD = -1


@dataclass(frozen=True, eq=False)
class PriorTerms:
    """Targets of the prior terms of the loss; None where the term has no weight.

    Attributes:
        probabilities: term -> float32 [N] in [0, 1], NaN where a sentence has none ("document", "query", ...).
        pairs: the sentence pairs of each response, and the correlation of each pair, float32 [P].
        neighbours: indices of neighbouring sentences, int64 [N, K], -1 for none, and similarities, float32 [N, K].
    """

    probabilities: dict[str, Tensor] = field(default_factory=dict)
    pairs: tuple[SentencePairs, Tensor] | None = None
    neighbours: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """B responses with N sentences.

    Attributes:
        features: float32 [N, F], z-scores, 0 for null.
        priors: family -> float32 [N], an evidence prior in units of its own standard deviation, 0 where there is none.
        families: family -> float32 [F], the expected sign of each feature that belongs to it, 0 for the others.
        segments: the responses.
        labels: float64 [B], NaN for unlabelled.
        fold: int64 [B]; the fold of a labelled train response, NO_FOLD for all others.
        dev: bool [B], labelled responses of the dev split.
        terms: targets of the prior terms.
    """

    features: Tensor
    priors: dict[str, Tensor]
    families: dict[str, Tensor]
    segments: Segments
    labels: Tensor
    fold: Tensor
    dev: Tensor
    terms: PriorTerms


def assign_folds(groups: list[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each response, int64 [B] in 0..folds-1: groups are kept whole and dealt out evenly.

    Groups are dealt in the order of a hash, so a fold does not depend on the order of rows. If there are fewer groups
    than folds, some folds stay empty.
    """
    distinct, inverse = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    keys = [blake2b(f"{seed}:{group}".encode(), digest_size=8).digest() for group in distinct]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.arange(len(keys))
    result: NDArray[np.int64] = (rank % folds)[inverse]
    return result


def segments_of(owners: NDArray[np.int64], responses: int) -> Segments:
    """Return the bags of sentences whose responses are `owners` (int64 [N], ascending)."""
    return Segments.from_sizes(torch.from_numpy(np.bincount(owners, minlength=responses)))
