"""From the tables to the trainer's examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fractal_core.mil.examples import NO_FOLD, Examples, PriorTerms, assign_folds, segments_of
from fractal_core.mil.losses import SentencePairs, pair_correlation
from fractal_core.priors.evidence_prior import EvidenceStandardiser, comparisons, feature_matrix
from fractal_core.priors.vectors import distinct, text_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.config import PriorWeights, TrainConfig
    from fractal_core.mil.segments import Segments
    from fractal_core.store.stage import Inputs

FAMILIES = ("context", "query")
_KEYS = ("response_id", "sentence_index")


@dataclass(frozen=True, eq=False)
class Assembled:
    """Examples, the keys of their sentences, and how their features were standardised."""

    examples: Examples
    keys: pa.Table
    standardiser: EvidenceStandardiser
    features: tuple[str, ...]
    prior_scales: dict[str, tuple[float, float]]


def assemble(inputs: Inputs, settings: TrainConfig, seed: int, standardiser: EvidenceStandardiser | None) -> Assembled:
    """Build examples from responses, evidence and priors.

    Args:
        inputs: tables responses, sentences, embeddings, evidence and priors, sentence tables in one order.
        settings: folds and weights of the prior terms.
        seed: of the folds.
        standardiser: to be used instead of one fitted on the sentences of train responses.
    """
    responses = inputs.table("responses")
    evidence = inputs.table("evidence")
    names = tuple(name for name in evidence.column_names if name not in _KEYS)
    owners = pc.index_in(evidence.column("response_id"), value_set=responses.column("response_id").combine_chunks())
    segments = segments_of(owners.to_numpy().astype(np.int64), responses.num_rows)
    split = np.array(responses.column("split").to_pylist(), dtype=object)
    train = split == "train"
    matrix = feature_matrix(evidence, names)
    train_sentences = train[segments.ids.numpy()]
    if standardiser is None:
        standardiser = EvidenceStandardiser.fit(matrix, names, train_sentences)
    priors = inputs.table("priors")
    columns = {family: priors.column(f"{family}_evidence").to_numpy().astype(np.float64) for family in FAMILIES}
    scales = {family: _scale(values, train_sentences) for family, values in columns.items()}
    signs, against = np.where(standardiser.used, standardiser.sign, 0), comparisons(names)
    labels = responses.column("label").to_numpy().astype(np.float64)
    labelled = np.isfinite(labels)
    fold = assign_folds([str(group) for group in responses.column("group").to_pylist()], settings.folds, seed)
    examples = Examples(
        features=torch.from_numpy(standardiser.standardise(matrix)),
        priors={
            family: torch.from_numpy(np.nan_to_num((columns[family] - mean) / scale).astype(np.float32))
            for family, (mean, scale) in scales.items()
        },
        families={
            family: torch.from_numpy(np.where(against == family, signs, 0).astype(np.float32)) for family in scales
        },
        segments=segments,
        labels=torch.from_numpy(labels),
        fold=torch.from_numpy(np.where(train & labelled, fold, NO_FOLD)),
        dev=torch.from_numpy((split == "dev") & labelled),
        terms=_terms(inputs, priors, segments, settings.prior_weights, train_sentences),
    )
    return Assembled(examples, evidence.select(list(_KEYS)), standardiser, names, scales)


def _scale(values: NDArray[np.float64], rows: NDArray[np.bool_]) -> tuple[float, float]:
    """Return mean and standard deviation over some rows; (0, 1) if there is nothing to scale."""
    known = values[rows & np.isfinite(values)]
    scale = float(known.std()) if known.size else 0.0
    return (float(known.mean()), scale) if scale > 0 else (0.0, 1.0)


def _terms(
    inputs: Inputs, priors: pa.Table, segments: Segments, weights: PriorWeights, rows: NDArray[np.bool_]
) -> PriorTerms:
    """Build the targets of the prior terms that have a weight."""
    columns = {
        "document": "document_similarity",
        "query": "query_similarity",
        "context_evidence": "context_evidence",
        "query_evidence": "query_evidence",
    }
    targets = {
        term: _calibrated(priors.column(column).to_numpy(), rows)
        for term, column in columns.items()
        if getattr(weights, term) > 0
    }
    return PriorTerms(
        probabilities=targets,
        pairs=_pairs(inputs, segments) if weights.correlation > 0 else None,
        neighbours=_neighbours(priors) if weights.neighbours > 0 else None,
    )


def _calibrated(values: NDArray[np.float32], rows: NDArray[np.bool_]) -> torch.Tensor:
    """Turn a raw similarity into a probability: the logistic function of its z-score. NaN stays NaN."""
    mean, scale = _scale(values.astype(np.float64), rows)
    z = (values.astype(np.float64) - mean) / scale
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
