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
from fractal_core.priors.evidence_prior import EvidenceStandardiser, feature_matrix
from fractal_core.priors.vectors import distinct, text_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.config import PriorWeights, TrainConfig
    from fractal_core.mil.segments import Segments
    from fractal_core.store.stage import Inputs

_KEYS = ("response_id", "sentence_index")


@dataclass(frozen=True, eq=False)
class Assembled:
    """Examples, the keys of their sentences, and how their features were standardised."""

    examples: Examples
    keys: pa.Table
    standardiser: EvidenceStandardiser
    features: tuple[str, ...]
    prior_mean: float
    prior_scale: float


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
    prior = priors.column("evidence_prior").to_numpy().astype(np.float64)
    known = train_sentences & np.isfinite(prior)
    mean = float(prior[known].mean()) if known.any() else 0.0
    scale = float(prior[known].std()) if known.any() else 1.0
    scale = scale if scale > 0 else 1.0
    labels = responses.column("label").to_numpy().astype(np.float64)
    labelled = np.isfinite(labels)
    fold = assign_folds([str(group) for group in responses.column("group").to_pylist()], settings.folds, seed)
    examples = Examples(
        features=torch.from_numpy(standardiser.standardise(matrix)),
        prior=torch.from_numpy(np.nan_to_num((prior - mean) / scale).astype(np.float32)),
        segments=segments,
        labels=torch.from_numpy(labels),
        fold=torch.from_numpy(np.where(train & labelled, fold, NO_FOLD)),
        dev=torch.from_numpy((split == "dev") & labelled),
        terms=_terms(inputs, priors, segments, settings.prior_weights, train_sentences),
    )
    return Assembled(examples, evidence.select(list(_KEYS)), standardiser, names, mean, scale)


def _terms(
    inputs: Inputs, priors: pa.Table, segments: Segments, weights: PriorWeights, rows: NDArray[np.bool_]
) -> PriorTerms:
    """Build the targets of the prior terms that have a weight."""
    columns = {"document": "document_similarity", "query": "query_similarity", "evidence": "evidence_prior"}
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
    known = values[rows & np.isfinite(values)].astype(np.float64)
    mean, scale = (known.mean(), known.std()) if known.size else (0.0, 1.0)
    z = (values.astype(np.float64) - mean) / (scale if scale > 0 else 1.0)
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
