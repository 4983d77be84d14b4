"""A saved scorer on sentences, whether it was trained on them or has never seen them: no label is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.adjusting import without
from fractal_core.mil.ensemble import (
    cross_fitted,
    cross_fitted_extra,
    ensemble_extra,
    ensemble_logits,
    with_given,
)
from fractal_core.mil.examples import NO_FOLD, Examples, PriorTerms
from fractal_core.mil.gold import HYBRID

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.saving import SavedEnsemble
    from fractal_core.mil.sentences import Sentences
    from fractal_core.mil.task import Task


@dataclass(frozen=True, eq=False)
class Applied:
    """What a scorer says of N sentences, on the scale it was calibrated to.

    Attributes:
        logits: [N], the log-odds of being positive (above grade 0; of real values, of the share of `Fit.span`).
        extra: [N, E], which with the logits gives the probabilities of grades (`own_cumulative_logits`).
        spread: [N], standard deviation of the members' probabilities.
    """

    logits: Tensor
    extra: Tensor
    spread: Tensor


def odd_label(examples: Examples, task: Task) -> int | None:
    """Return the first unit whose label is a share where the scorer has found that labels are 0 or 1; None if none is.

    Under aggregation auto the labels of the input may be shares, and those that a scorer was trained on were not.
    """
    labels = examples.labels
    odd = torch.nonzero(~torch.isnan(labels) & (labels != 0) & (labels != 1)).flatten()
    return int(odd[0]) if task.kind == "binary" and len(odd) else None


def apply_ensemble(
    saved: SavedEnsemble, sentences: Sentences, fold: Tensor | None = None, given: Tensor | None = None
) -> Applied:
    """Score sentences with a saved scorer.

    Args:
        saved: the scorer.
        sentences: read with its own `fit` (`read_sentences`).
        fold: int64 [S, B], for responses that it may have been trained on: the fold whose members have not seen the
            response's label, or NO_FOLD (`Folds.of`). A response without fold gets the mean of all members; None if no
            response has one.
        given: float32 [S * K, N], what its fine-tuned encoders say of the sentences, if it has any.
    """
    responses = sentences.segments.count
    fold = torch.full((1, responses), NO_FOLD) if fold is None else fold
    if HYBRID not in sentences.priors:
        sentences = sentences.with_hybrid(saved.fit, fold[0][sentences.segments.ids].numpy())
    examples = Examples(
        features=sentences.features,
        priors=sentences.priors,
        families=sentences.families,
        segments=sentences.segments,
        units=torch.arange(responses)[:, None],
        labels=torch.full((responses,), torch.nan, dtype=torch.float64),
        fold=fold,
        train=torch.zeros(responses, dtype=torch.bool),
        dev=torch.zeros(responses, dtype=torch.bool),
        gold=torch.full((sentences.segments.total,), torch.nan, dtype=torch.float64),
        terms=PriorTerms(),
    )
    examples = without(examples, saved.task.adjusted, sentences.names)
    components = with_given(saved.components, given)
    logits, spread = cross_fitted(ensemble_logits(components, examples), examples)
    return Applied(logits, cross_fitted_extra(ensemble_extra(components), examples), spread)
