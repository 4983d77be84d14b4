"""The hybrid prior: what the gold labels of a few sentences say of every sentence (FRACTAL, arXiv 2404.04817, hybrid).

Logistic regression on standardised evidence, cross-fitted by the folds of training. Three rules keep it honest: a
sentence is scored by a member fitted without its fold; that member's penalty is chosen without its fold too; and if the
held-out gold labels are predicted no better than by their mean, there is no hybrid prior.

Training deals the folds several times, and a prior of one dealing serves them all. What that means for a scorer of
another dealing, which is judged by a sentence i of its fold k:

- The prior of i never depends on gold of its own group: groups stay whole in every dealing. It may depend on gold of
  other groups of fold k, which says nothing of the labels of i, as in leave-one-out.
- The priors of the sentences j that the scorer is trained on do depend on gold of fold k; so they do in the dealing
  they come from. As an offset, this makes the scorer no better on i but, if anything, a little worse: it learns
  label - prior(j), in which gold of i has the opposite sign, and adds that to a prior(i) without it. The error is on
  the side of caution, as large as the leverage of one gold label, and spares sentences without gold. To be rid of it,
  every member would need priors of its own.
- As a target (a term of the loss) they would be a leak: a scorer that imitates prior(j) takes over what gold of i
  taught it, and says it of i. Hence `hybrid_members`: the scorer of a dealing and fold is pulled towards the regression
  of that same dealing and fold, which saw no gold of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.errors import InputError
from fractal_core.priors.logistic import cross_entropy, fit_logistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    HeldOut = tuple[int, ...]


@dataclass(frozen=True)
class HybridSettings:
    """How the hybrid prior is fitted.

    Attributes:
        penalties: L2 penalties to choose from, each above 0: penalty / 2 * |weights|^2 is added to the summed
            cross-entropy. Where no fold is left to choose by, the middle one is taken.
        least: fewest gold sentences.
    """

    penalties: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    least: int = 20


def hybrid_prior(
    features: NDArray[np.float32],
    gold: Floats,
    fold: NDArray[np.int64],
    settings: HybridSettings,
    note: Callable[[str], None] = lambda text: None,
) -> Floats:
    """Return the log-odds that a sentence is positive, learnt from the gold labels of sentences of other folds.

    Arguments and errors are those of `hybrid_members`.

    Returns:
        [N] float64: of the member fitted without the sentence's fold; for fold -1 the mean over all members. All NaN
        if there are no members.
    """
    return of_own_fold(hybrid_members(features, gold, fold, int(fold.max()) + 1, settings, note), fold)


def of_own_fold(members: Floats, fold: NDArray[np.int64]) -> Floats:
    """Return from members [K, N] what the one of each sentence's fold (int64 [N]) says; for fold -1 their mean: [N]."""
    own = members[np.maximum(fold, 0), np.arange(len(fold))]
    result: Floats = np.where(fold >= 0, own, members.mean(axis=0))
    return result


def hybrid_members(
    features: NDArray[np.float32],
    gold: Floats,
    fold: NDArray[np.int64],
    count: int,
    settings: HybridSettings,
    note: Callable[[str], None] = lambda text: None,
) -> Floats:
    """Return the log-odds that a sentence is positive as each member has it, which saw no gold label of its fold.

    Args:
        features: [N, F] standardised, finite.
        gold: [N] in [0, 1], NaN where there is no gold label. Labels between 0 and 1 count as shares.
        fold: [N] int64, the training fold of each sentence, -1 outside training (dev, test). Gold labels of
            sentences with fold -1 are not used.
        count: number of folds K, above every fold.
        settings: penalties and the fewest gold labels.
        note: told what the prior was made from, or why there is none.

    Returns:
        [K, N] float64. All NaN if there are no members (see `hybrid_weights`).

    Raises:
        InputError: a gold label of a train sentence is outside [0, 1].
    """
    weights = hybrid_weights(features, gold, fold, count, settings, note)
    return np.full((count, len(gold)), np.nan) if weights is None else log_odds(weights, features)


def log_odds(weights: Floats, features: NDArray[np.float32]) -> Floats:
    """Return what members [K, 1 + F] say of sentences with standardised features [N, F]: [K, N] float64."""
    result: Floats = weights[:, 1:] @ features.astype(np.float64).T + weights[:, :1]
    return result


def hybrid_weights(
    features: NDArray[np.float32],
    gold: Floats,
    fold: NDArray[np.int64],
    count: int,
    settings: HybridSettings,
    note: Callable[[str], None] = lambda text: None,
) -> Floats | None:
    """Return the members' weights, [K, 1 + F] float64, the bias first.

    Arguments and errors are those of `hybrid_members`.

    Returns:
        None if there are too few gold labels, if they are all the same once any one fold is left out, or if they are
        predicted no better than by their mean.
    """
    rows = np.flatnonzero(np.isfinite(gold) & (fold >= 0))
    labels, folds = gold[rows], fold[rows]
    outside = labels[(labels < 0) | (labels > 1)]
    if len(outside):
        message = (
            f"{len(outside):,} of {len(labels):,} gold sentence labels in train responses are outside 0..1, the first "
            f"being {outside[0]:g}: scale them, or set priors.hybrid = false."
        )
        raise InputError(message)
    found = f"{len(rows):,} gold sentence labels in train responses"
    if len(rows) < settings.least:
        note(f"no hybrid prior: there are {found}, and it takes {settings.least}")
        return None
    known, members = np.unique(folds), range(count)
    sets = [held for size in range(3) for held in combinations(known.tolist(), size)]
    sets = [held for held in sets if _varies(labels[~np.isin(folds, held)])]
    if not all((number,) in sets for number in known.tolist()):
        note(f"no hybrid prior: the {found} are all the same in all folds but one")
        return None

    weights, losses, constant = _fit_all(features[rows], labels, folds, sets, settings.penalties)
    without = {k: (k,) if (k,) in sets else () for k in members}
    chosen = {held: _best(held, sets, losses) for held in set(without.values())}
    own = sum(losses[sets.index((k,)), chosen[k,], k] for k in known.tolist()) / len(rows)
    mean = sum(constant[sets.index((k,)), k] for k in known.tolist()) / len(rows)
    quality = f"held-out cross-entropy {own:.4f}, of their mean {mean:.4f}"
    if own >= mean:
        note(f"no hybrid prior: {found} are predicted no better than by their mean ({quality})")
        return None
    penalties = sorted({settings.penalties[place] for place in chosen.values()})
    note(f"hybrid prior from {found} ({quality}; penalty {' and '.join(f'{p:g}' for p in penalties)})")
    return np.stack([weights[sets.index(without[k]), chosen[without[k]]] for k in members])


def _varies(labels: Floats) -> bool:
    return bool(len(labels)) and bool(labels.min() < labels.max())


def _fit_all(
    features: NDArray[np.float32],
    labels: Floats,
    folds: NDArray[np.int64],
    sets: list[HeldOut],
    penalties: tuple[float, ...],
) -> tuple[Floats, Floats, Floats]:
    """Fit every set of held-out folds with every penalty at once.

    Returns:
        Weights [S, P, 1 + F], the bias first; the summed cross-entropy of each fold [S, P, K]; and that of the mean of
        the labels fitted on [S, K].
    """
    design = np.column_stack([np.ones(len(labels)), features.astype(np.float64)])
    count = int(folds.max()) + 1
    use = np.ones((len(sets), count))
    for place, held in enumerate(sets):
        use[place, list(held)] = 0.0
    total = np.stack([np.bincount(folds, minlength=count), np.bincount(folds, labels, minlength=count)])
    rate = (use @ total[1]) / (use @ total[0])
    constant = -(np.log(rate)[:, None] * total[1] + np.log1p(-rate)[:, None] * (total[0] - total[1]))
    grid = np.tile(penalties, len(sets))
    weights = fit_logistic(design, labels, folds, np.repeat(use, len(penalties), axis=0), grid)
    losses = cross_entropy(design, labels, folds, weights, count)
    shape = (len(sets), len(penalties))
    return weights.reshape(*shape, -1), losses.reshape(*shape, -1), constant


def _best(held: HeldOut, sets: list[HeldOut], losses: Floats) -> int:
    """Return the penalty whose fits predict best the folds they leave out besides `held`."""
    total, any_left = np.zeros(losses.shape[1]), False
    for place, other in enumerate(sets):
        if len(other) == len(held) + 1 and set(held) < set(other):
            (left,) = set(other) - set(held)
            total += losses[place, :, left]
            any_left = True
    return int(np.argmin(total)) if any_left else losses.shape[1] // 2
