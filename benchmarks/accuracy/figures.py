"""The figures of a method on a set, all from the same four things: scores, gold, split, response labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import torch

from benchmarks.accuracy.running import floats
from fractal_core.evaluation import intervals
from fractal_core.evaluation.intervals import interval
from fractal_core.evaluation.metrics import auc_pr, auc_roc, ece, mae
from fractal_core.evaluation.of_responses import aggregate, preference_figures
from fractal_core.mil.posterior import posterior
from fractal_core.mil.segments import Segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.accuracy.methods import Method
    from benchmarks.accuracy.running import Results, Scores
    from benchmarks.accuracy.sets import DataSet
    from fractal_core.evaluation.intervals import Weighted

DRAWS = 500
NONE = float("nan")
_CLIP = 1e-9


@dataclass(frozen=True)
class Row:
    """One method on one set. Figures are means over seeds; NaN where there is none.

    Attributes:
        auc, auc_low, auc_high: sentence AUC-ROC on test, and the 95 % bootstrap interval over responses.
        pr, pr_low, pr_high: average precision, likewise.
        spread: standard deviation of the AUC-ROC over seeds.
        response: on test, AUC-ROC of the pooled score against 0/1 labels, or share of pairs ordered rightly.
        error: on test, mean absolute error: of grades against gold, or of the mean score against a share.
        ece: expected calibration error of the scores on test sentences.
        train: AUC-ROC of the posterior on labelled train responses.
        train_ece: its expected calibration error.
        seconds: of the method's own stages, a seed.
        sentences: of test with gold.
    """

    auc: float = NONE
    auc_low: float = NONE
    auc_high: float = NONE
    pr: float = NONE
    pr_low: float = NONE
    pr_high: float = NONE
    spread: float = NONE
    response: float = NONE
    error: float = NONE
    ece: float = NONE
    train: float = NONE
    train_ece: float = NONE
    seconds: float = NONE
    sentences: int = 0


@dataclass(frozen=True, eq=False)
class Truth:
    """What scores are compared with: N sentences of B responses.

    Attributes:
        response: int64 [N].
        gold: float64 [N], NaN for none.
        test, train: bool [N], sentences of that split that have gold; of train, only of labelled responses.
        label: float64 [B].
        preferred: float64 [B].
        pair: int64 [B].
        test_response: bool [B].
    """

    response: NDArray[np.int64]
    gold: NDArray[np.float64]
    test: NDArray[np.bool_]
    train: NDArray[np.bool_]
    label: NDArray[np.float64]
    preferred: NDArray[np.float64]
    pair: NDArray[np.int64]
    test_response: NDArray[np.bool_]


def truth_of(results: Results) -> Truth:
    """Return what the scores of a set are compared with."""
    responses, sentences = results.responses, results.sentences
    ids = responses.column("response_id").combine_chunks()
    response = pc.index_in(sentences.column("response_id"), value_set=ids).to_numpy().astype(np.int64)
    gold, label = floats(sentences, "gold"), floats(responses, "label")
    split = np.array(responses.column("split").to_pylist(), dtype=object)
    known = ~np.isnan(gold)
    codes = responses.column("pair").combine_chunks().dictionary_encode("encode").indices
    preferred = floats(responses, "preferred")
    labelled = ~np.isnan(preferred if results.dataset.preference else label)
    return Truth(
        response=response,
        gold=gold,
        test=known & (split == "test")[response],
        train=known & ((split == "train") & labelled)[response],
        label=label,
        preferred=preferred,
        pair=codes.to_numpy(zero_copy_only=False).astype(np.int64),
        test_response=split == "test",
    )


def row_of(dataset: DataSet, method: Method, scores: Sequence[Scores], truth: Truth, draws: int = DRAWS) -> Row:
    """Return a method's figures.

    The interval is that of the mean score over seeds, resampling test responses; the figure itself is the mean of the
    seeds' figures.

    Args:
        dataset: the set.
        method: the method.
        scores: one a seed.
        truth: what to compare with.
        draws: of the bootstrap.
    """
    positive = (truth.gold[truth.test] > 0).astype(np.float64)
    tested = [s.score[truth.test] for s in scores]
    together = np.mean(tested, axis=0)
    auc = [auc_roc(positive, score) for score in tested]
    low, high = _interval(intervals.auc_roc, positive, together, truth, draws)
    pr_low, pr_high = _interval(intervals.auc_pr, positive, together, truth, draws)
    posteriors = [_posterior(dataset, method, s, truth) for s in scores]
    train = [p[truth.train] for p in posteriors if p is not None]
    train_gold = (truth.gold[truth.train] > 0).astype(np.float64)
    scaled = not method.prior and not dataset.ordinal
    return Row(
        auc=_mean(auc),
        auc_low=low,
        auc_high=high,
        pr=_mean([auc_pr(positive, score) for score in tested]),
        pr_low=pr_low,
        pr_high=pr_high,
        spread=float(np.std(auc)) if len(auc) > 1 else NONE,
        response=_mean([_response(dataset, s.score, truth) for s in scores]),
        error=NONE if method.prior else _mean([_error(dataset, method, s.score, truth) for s in scores]),
        ece=_mean([ece(positive, score) for score in tested]) if scaled else NONE,
        train=_mean([auc_roc(train_gold, p) for p in train]),
        train_ece=_mean([ece(train_gold, p) for p in train]) if scaled else NONE,
        seconds=_mean([s.seconds for s in scores]),
        sentences=len(positive),
    )


def _interval(
    measure: Weighted, gold: NDArray[np.float64], score: NDArray[np.float64], truth: Truth, draws: int
) -> tuple[float, float]:
    low, high = interval(measure, gold, score, truth.response[truth.test], draws)
    return (NONE, NONE) if low is None or high is None else (low, high)


def _posterior(dataset: DataSet, method: Method, scores: Scores, truth: Truth) -> NDArray[np.float64] | None:
    """Return the method's own posterior or, for a cross-fitted baseline, the exact one of its scores."""
    if scores.posterior is not None:
        return scores.posterior
    if method.paper or dataset.preference or dataset.ordinal:
        return None
    chance = np.clip(scores.score, _CLIP, 1 - _CLIP)
    logits = torch.from_numpy(np.log(chance) - np.log1p(-chance))
    segments = Segments.from_sizes(torch.from_numpy(np.bincount(truth.response, minlength=len(truth.label))))
    given: NDArray[np.float64] = posterior(dataset.pooling, logits, torch.from_numpy(truth.label), segments).numpy()
    return given


def _response(dataset: DataSet, score: NDArray[np.float64], truth: Truth) -> float:
    chosen = truth.test_response
    pooled = aggregate(score, truth.response, len(truth.label), dataset.pooling)[chosen]
    if dataset.preference:
        figures = preference_figures(truth.pair[chosen], truth.preferred[chosen], {"score": pooled})
        return next((figure.value for figure in figures), NONE)
    label = truth.label[chosen]
    label = (label > 0).astype(np.float64) if dataset.ordinal else label
    return auc_roc(label, pooled) if np.isin(label, (0.0, 1.0)).all() else NONE


def _error(dataset: DataSet, method: Method, score: NDArray[np.float64], truth: Truth) -> float:
    if dataset.ordinal:
        # A baseline's score is the expected grade as a share of the highest.
        grade = score if method.product else score * dataset.grades
        return mae(truth.gold[truth.test], grade[truth.test])
    if dataset.pooling != "avg" or dataset.preference:
        return NONE
    pooled = aggregate(score, truth.response, len(truth.label), "avg")
    return mae(truth.label[truth.test_response], pooled[truth.test_response])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else NONE
