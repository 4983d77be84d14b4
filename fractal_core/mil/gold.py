"""Gold labels of train sentences, where they may be learned from, and what they teach of the other sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fractal_core.priors.hybrid import HybridSettings, hybrid_members, hybrid_weights, log_odds, of_own_fold

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

# The family of the prior that gold labels teach.
HYBRID = "hybrid"
_WITH_GOLD = ("binary", "share", "count", "preference")


def gold_to_learn(
    sentences: pa.Table, kind: str, rows: NDArray[np.bool_], note: Callable[[str], None]
) -> NDArray[np.float64]:
    """Return the gold labels under `priors.hybrid`, float64 [N] in [0, 1], NaN where there is none to learn from.

    Args:
        sentences: table sentences, with gold.
        kind: of the labels, as trained.
        rows: bool [N], sentences of train responses.
        note: told why there are none.
    """
    if kind not in _WITH_GOLD:
        note(
            f"priors.hybrid = true has no effect: gold sentence labels are learned from where a sentence is right or "
            f"wrong ({', '.join(_WITH_GOLD)}), but labels are trained as {kind}; set priors.hybrid = false, or another "
            f"input.label_kind"
        )
        return np.full(len(rows), np.nan)
    gold = np.where(rows, sentences.column("gold").to_numpy().astype(np.float64), np.nan)
    if not np.isfinite(gold).any():
        note(
            f"priors.hybrid = true has no effect: none of {int(rows.sum()):,} train sentences has a gold label; give "
            f"sentence_labels with some train responses, or set priors.hybrid = false"
        )
    return gold


class Hybrid(NamedTuple):
    """The hybrid prior as log-odds.

    Attributes:
        prior: float64 [N], what training may start from, made without gold of the sentence's group.
        targets: float64 [S * K, N], what the member of each dealing and fold may be pulled towards, made without gold
            of that fold.
        weights: float64 [K, 1 + F], of the first dealing's members, which make the prior.
    """

    prior: NDArray[np.float64] | None = None
    targets: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None


def learn_hybrid(
    features: NDArray[np.float32],
    gold: NDArray[np.float64],
    fold: NDArray[np.int64],
    pulls: bool,
    note: Callable[[str], None],
    count: int | None = None,
) -> Hybrid:
    """Return the hybrid prior of the first dealing (why of one: `fractal_core.priors.hybrid`), and targets of them all.

    Args:
        features: float32 [N, F], standardised.
        gold: float64 [N] in [0, 1], NaN where there is none.
        fold: int64 [S, N], of the sentences.
        pulls: whether there shall be targets; there are none unless every dealing has its own.
        note: told what the prior was made from, or why there is none.
        count: of folds; None for one more than the largest.

    Raises:
        InputError: a gold label is outside [0, 1].
    """
    if not np.isfinite(gold).any():
        return Hybrid()
    settings, count = HybridSettings(), int(fold.max()) + 1 if count is None else count
    weights = hybrid_weights(features, gold, fold[0], count, settings, note)
    if weights is None:
        return Hybrid()
    first = log_odds(weights, features)
    prior = of_own_fold(first, fold[0])
    if not pulls:
        return Hybrid(prior, None, weights)
    others = [hybrid_members(features, gold, dealt, count, settings) for dealt in fold[1:]]
    targets = np.concatenate([first, *others])
    return Hybrid(prior, None if np.isnan(targets).any() else targets, weights)
