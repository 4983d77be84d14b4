"""What the trainer sees: features, priors, and ragged responses with labels, splits and folds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import torch

from fractal_core.mil.segments import Segments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fractal_core.mil.losses import SentencePairs
    from fractal_core.mil.scorers.features import Features

NO_FOLD = -1


@dataclass(frozen=True, eq=False)
class PriorTerms:
    """Targets of the prior terms of the loss; None where the term has no weight.

    Attributes:
        probabilities: term -> float32 [N], or [S * K, N] with a row a team, in [0, 1], NaN where a sentence has none
            ("document", "query", ...); a term without targets is left out.
        pairs: the sentence pairs of each response, and the correlation of each pair, float32 [P].
        neighbours: indices of neighbouring sentences, int64 [N, K], -1 for none, and similarities, float32 [N, K].
    """

    probabilities: dict[str, Tensor] = field(default_factory=dict)
    pairs: tuple[SentencePairs, Tensor] | None = None
    neighbours: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """B responses with N sentences, and U units of W responses each: W is 1 for labels, 2 for preferences.

    Attributes:
        features: float32 [N, F], z-scores, 0 for null; or the vectors of texts, [N, F] or (C readings) [N, C, F].
        priors: family -> float32 [N], a prior in units of its own standard deviation, 0 where there is none.
        families: family -> float32 [F], the expected sign of each feature that belongs to it, 0 for the others.
        segments: the responses.
        units: int64 [U, W], the responses of each unit.
        labels: float64 [U], as `Task.losses` takes them, NaN for unlabelled.
        fold: int64 [S, B], a row a dealing; of a train response with a label or gold, NO_FOLD for all others. But where
            an earlier scorer is gone on from, a response that it learned from keeps its fold, even if it has no label
            or is not of train any more; where it is not trained, one that it has not learned from has none.
        train: bool [U], units of the train split, labelled or not.
        dev: bool [U], labelled units of the dev split.
        gold: float64 [N], gold labels of train sentences that may be learned from, NaN for none.
        terms: targets of the prior terms.
        covariates: float32 [U, C], of pairs adjusted for a family of evidence; None otherwise.
        members: number of folds of a dealing, if it is not one more than the largest that a response has here.
    """

    features: Features
    priors: dict[str, Tensor]
    families: dict[str, Tensor]
    segments: Segments
    units: Tensor
    labels: Tensor
    fold: Tensor
    train: Tensor
    dev: Tensor
    gold: Tensor
    terms: PriorTerms
    covariates: Tensor | None = None
    members: int = 0

    @property
    def folds(self) -> int:
        """Number of folds of a dealing."""
        return self.members or int(self.fold.max()) + 1

    @property
    def dealings(self) -> int:
        """Number of dealings into folds."""
        return self.fold.shape[0]

    @cached_property
    def unit_fold(self) -> Tensor:
        """Fold of each unit, int64 [S, U]: its responses share a group and so a fold."""
        return self.fold[:, self.units[:, 0]]

    @cached_property
    def unseen(self) -> Tensor:
        """Units that no member learns or has learned from: bool [U]."""
        return self.unit_fold[0] == NO_FOLD

    @cached_property
    def by_unit(self) -> tuple[Tensor, Segments]:
        """The sentences of all units, unit by unit, as indices into N, and their responses as bags."""
        return self.segments.select(self.units.flatten())

    def over_unit(self, values: Tensor) -> Tensor:
        """Return values of the responses of some units, [..., u * W], as [..., u, W]."""
        return values.reshape(*values.shape[:-1], -1, self.units.shape[1])

    @cached_property
    def has_gold(self) -> bool:
        """Whether there are gold sentence labels to learn from."""
        return not bool(torch.isnan(self.gold).all())

    @cached_property
    def taught(self) -> Tensor:
        """Units of the train split that have a label, or a response with a gold sentence label: bool [U]."""
        known = self.segments.sum((~torch.isnan(self.gold)).to(self.gold.dtype)) > 0
        return self.train & (~torch.isnan(self.labels) | known[self.units].any(1))

    def to_learn_from(self) -> Examples:
        """Return them without the labels of train responses that have no fold: whoever saw one would be its judge."""
        foldless = self.fold[0] == NO_FOLD
        if not bool((self.taught & foldless[self.units].any(1)).any()):
            return self
        labels = self.labels.masked_fill(self.train & self.unseen, torch.nan)
        gold = self.gold.masked_fill(self.segments.expand(foldless), torch.nan)
        return replace(self, labels=labels, gold=gold)


def assign_folds(groups: list[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each response, int64 [B] in 0..folds-1: groups are kept whole and dealt out evenly.

    Groups are dealt in the order of a hash, so a fold does not depend on the order of rows. If there are fewer groups
    than folds, some folds stay empty.
    """
    rank, inverse = deal_order(groups, seed)
    result: NDArray[np.int64] = (rank % folds)[inverse]
    return result


def deal_order(groups: list[str], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when each distinct group is dealt, int64 [G], and which group each response is of, int64 [B]."""
    distinct, inverse = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    keys = [blake2b(f"{seed}:{group}".encode(), digest_size=8).digest() for group in distinct]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.arange(len(keys))
    return rank, inverse.astype(np.int64)


def segments_of(owners: NDArray[np.int64], responses: int) -> Segments:
    """Return the bags of sentences whose responses are `owners` (int64 [N], ascending)."""
    return Segments.from_sizes(torch.from_numpy(np.bincount(owners, minlength=responses)))
