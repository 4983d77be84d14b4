"""The targets of the prior terms of the loss, from the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fractal_core.mil.examples import PriorTerms
from fractal_core.mil.losses import SentencePairs, pair_correlation
from fractal_core.priors.evidence_prior import ROUNDING
from fractal_core.priors.vectors import distinct, text_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from fractal_core.mil.segments import Segments
    from fractal_core.store.stage import Inputs

# Term of the loss -> column of table priors.
COLUMNS = {
    "document": "document_similarity",
    "query": "query_similarity",
    "context_evidence": "context_evidence",
    "query_evidence": "query_evidence",
    "column": "column_prior",
    "sql": "sql_prior",
}
# Term of the loss -> what it takes to have targets.
NEEDS = {
    "document": "a context",
    "query": "a query",
    "context_evidence": "a context",
    "query_evidence": "a query",
    "column": "numbers that differ between sentences",
    "sql": "numbers that differ between sentences",
    "hybrid": "gold sentence labels that teach something",
    "correlation": "responses of several sentences",
    "neighbours": "priors.neighbours above 0",
}
# The user's own priors -> what turns them off.
_OFF = {"column": "priors.column = false", "sql": 'priors.sql = ""'}


def prior_terms(
    inputs: Inputs,
    priors: pa.Table,
    segments: Segments,
    weights: Mapping[str, float],
    rows: NDArray[np.bool_],
    hybrid: NDArray[np.float64] | None,
    note: Callable[[str], None],
) -> PriorTerms:
    """Build the targets of the terms that have a weight; a term without any target in train is left out.

    Args:
        inputs: tables sentences and embeddings.
        priors: table priors.
        segments: the responses.
        weights: of the terms.
        rows: bool [N], sentences of train responses, by which similarities are standardised.
        hybrid: log-odds of the hybrid prior as every team has it, [S * K, N]; None if there is none.
        note: told which weights pull nowhere, so that the bag loss has them.
    """
    asked = {term: weight for term, weight in weights.items() if weight > 0}
    targets = {
        term: _calibrated(priors.column(column).to_numpy(), rows) for term, column in COLUMNS.items() if term in asked
    }
    if "hybrid" in asked and hybrid is not None:
        targets["hybrid"] = torch.from_numpy((1 / (1 + np.exp(-hybrid))).astype(np.float32))
    train = torch.from_numpy(rows)
    targets = {term: target for term, target in targets.items() if bool(torch.isfinite(target[..., train]).any())}
    pairs = _pairs(inputs, segments) if "correlation" in asked else None
    if pairs is not None and not bool(train[pairs[0].first].any()):
        pairs = None
    neighbours = _neighbours(priors) if "neighbours" in asked else None
    if neighbours is not None and not bool((neighbours[0][train] >= 0).any()):
        neighbours = None
    there = {*targets, *(["correlation"] if pairs else []), *(["neighbours"] if neighbours else [])}
    for term, weight in asked.items():
        if term not in there:
            note(
                f"train.prior_weights.{term} = {weight:g} pulls nowhere, because no train sentence has a target, so "
                f"the bag loss has this weight: give {NEEDS[term]}, or set it to 0"
            )
    return PriorTerms(probabilities=targets, pairs=pairs, neighbours=neighbours)


def scale_of(values: NDArray[np.float64], rows: NDArray[np.bool_]) -> tuple[float, float]:
    """Return mean and standard deviation over some rows.

    The deviation is 0 if they are all the same, up to float32 rounding; both are 0 if there are none. Such values say
    nothing.
    """
    known = values[rows & np.isfinite(values)]
    if not known.size:
        return 0.0, 0.0
    mean, scale = float(known.mean()), float(known.std())
    return mean, scale if scale > ROUNDING * float(np.abs(known).max()) else 0.0


def scaled(values: NDArray[np.float64], mean: float, scale: float) -> NDArray[np.float64]:
    """Return z-scores, NaN where a value is NaN, and everywhere if the scale is 0."""
    return (values - mean) / scale if scale > 0 else np.full(len(values), np.nan)


def note_constants(
    known: Mapping[str, NDArray[np.float64]],
    scales: Mapping[str, tuple[float, float]],
    rows: NDArray[np.bool_],
    note: Callable[[str], None],
) -> None:
    """Tell which priors are one value and so no candidate to start from.

    Args:
        known: family -> [N], NaN where there is none.
        scales: family -> mean and standard deviation, as `scale_of` has them.
        rows: bool [N], sentences of train responses.
        note: told.
    """
    for family, values in known.items():
        mean, scale = scales[family]
        if scale == 0 and np.isfinite(values[rows]).any():
            remedy = f"; give numbers that differ, or set {_OFF[family]}" if family in _OFF else ""
            note(f"the {family} prior is the same for every sentence of train, {mean:g}: not used{remedy}")


def _calibrated(values: NDArray[np.float32], rows: NDArray[np.bool_]) -> torch.Tensor:
    """Turn a raw similarity into a probability: the logistic function of its z-score, NaN where there is none."""
    exact = values.astype(np.float64)
    z = scaled(exact, *scale_of(exact, rows))
    return torch.from_numpy((1 / (1 + np.exp(-z))).astype(np.float32))


def _pairs(inputs: Inputs, segments: Segments) -> tuple[SentencePairs, torch.Tensor]:
    texts, row = distinct(inputs.table("sentences").column("text"))
    vectors = text_vectors(texts, inputs.batches("embeddings"))
    pairs = SentencePairs(segments)
    return pairs, pair_correlation(torch.from_numpy(vectors[row]), pairs)


def _neighbours(priors: pa.Table) -> tuple[torch.Tensor, torch.Tensor]:
    """Return neighbours as row numbers [N, K] and similarities [N, K]; -1 and 0 where there are fewer than K."""
    rows = priors.num_rows
    parts: list[Any] = [priors.column("response_id"), priors.column("sentence_index").cast(pa.string()), pa.scalar("#")]
    keys = pc.binary_join_element_wise(*parts).combine_chunks()
    lists = priors.column("neighbour_ids").combine_chunks()
    owner = pc.list_parent_indices(lists).to_numpy()
    target = pc.index_in(pc.list_flatten(lists), value_set=keys).to_numpy().astype(np.int64)
    similarity = pc.list_flatten(priors.column("neighbour_similarities").combine_chunks()).to_numpy()
    counts = np.bincount(owner, minlength=rows)
    width = max(1, int(counts.max(initial=0)))
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    index, weight = np.full((rows, width), -1, dtype=np.int64), np.zeros((rows, width), dtype=np.float32)
    index[owner, place], weight[owner, place] = target, similarity
    return torch.from_numpy(index), torch.from_numpy(weight)
