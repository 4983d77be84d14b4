"""From the tables to the trainer's examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fractal_core.mil.examples import NO_FOLD, Examples, assign_folds, segments_of
from fractal_core.mil.gold import HYBRID, gold_to_learn, learn_hybrid
from fractal_core.mil.place import NAMES as PLACE
from fractal_core.mil.place import place_features
from fractal_core.mil.prior_terms import note_constants, prior_terms, scale_of, scaled
from fractal_core.mil.scorers.comparison import Comparison
from fractal_core.mil.scorers.inputs import concat_features, mlp_features
from fractal_core.mil.scorers.texts import sentence_texts
from fractal_core.mil.supervision import Supervision, supervise
from fractal_core.priors.evidence_prior import EvidenceStandardiser, comparisons, feature_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fractal_core.store.stage import Inputs

KEYS = ("response_id", "sentence_index")
# Family -> column of table priors that training may start from.
FAMILIES = {
    "context": "context_evidence",
    "query": "query_evidence",
    "column": "column_prior",
    "sql": "sql_prior",
}


@dataclass(frozen=True)
class Plan:
    """What is to be assembled.

    Attributes:
        kind: of the labels, as trained.
        highest_grade: of grades trained as real values, else None.
        scorer: a key of `SCORERS`, or "finetune".
        folds: of a dealing.
        repeats: dealings into folds.
        seed: of the first dealing.
        hybrid: whether gold labels of train sentences are learned from.
        position: whether a sentence's place in its response is among the features.
        weights: of the prior terms.
        chunk_tokens: as stage `embed` cut the context.
    """

    kind: str
    highest_grade: int | None
    scorer: str
    folds: int
    repeats: int
    seed: int
    hybrid: bool
    position: bool
    weights: Mapping[str, float]
    chunk_tokens: int


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted to train sentences and is needed to read others alike."""

    standardiser: EvidenceStandardiser
    comparison: Comparison | None


@dataclass(frozen=True, eq=False)
class Assembled:
    """Examples, the keys of their sentences, their supervision, and how their features were made."""

    examples: Examples
    keys: pa.Table
    supervision: Supervision
    fit: Fit
    features: tuple[str, ...]
    prior_scales: dict[str, tuple[float, float]]


def assemble(inputs: Inputs, plan: Plan, fitted: Fit | None, note: Callable[[str], None]) -> Assembled:
    """Build examples from responses, sentences, embeddings, evidence and priors.

    Args:
        inputs: the tables, sentence tables in one order.
        plan: what to build.
        fitted: to be used instead of one fitted on the sentences of train responses.
        note: told what could not be used.
    """
    responses, evidence, priors = (inputs.table(name) for name in ("responses", "evidence", "priors"))
    names = evidence_names = tuple(name for name in evidence.column_names if name not in KEYS)
    owners = pc.index_in(evidence.column("response_id"), value_set=responses.column("response_id").combine_chunks())
    segments = segments_of(owners.to_numpy().astype(np.int64), responses.num_rows)
    split = np.array(responses.column("split").to_pylist(), dtype=object)
    rows = (split == "train")[segments.ids.numpy()]
    matrix = feature_matrix(evidence, names)
    standardiser = fitted.standardiser if fitted else EvidenceStandardiser.fit(matrix, names, rows)
    z = standardiser.standardise(matrix)
    comparison = fitted.comparison if fitted else None
    features = z
    if plan.scorer in ("mlp", "concat"):
        batches = inputs.batches("embeddings")
        texts = sentence_texts(responses, inputs.table("sentences"), batches, plan.chunk_tokens)
        if plan.scorer == "mlp":
            comparison = comparison or Comparison.fit(texts, rows)
            features = mlp_features(z, texts, comparison)
        else:
            features = concat_features(texts)
    names = (
        *(names if plan.scorer != "concat" else ()),
        *_unnamed(features.shape[-1] - (0 if plan.scorer == "concat" else len(names)), plan.scorer),
    )
    if plan.position and plan.scorer != "concat":
        features = np.concatenate([features, place_features(segments).numpy()], axis=1)
        names = (*names, *PLACE)
    supervision = supervise(responses, segments, plan.kind, plan.highest_grade, note)
    gold = np.full(len(matrix), np.nan)
    if plan.hybrid:
        gold = gold_to_learn(inputs.table("sentences"), plan.kind, rows, note)
    fold = _folds(responses, supervision, segments.sum(torch.from_numpy(np.isfinite(gold)).long()).numpy() > 0, plan)
    known = {family: priors.column(column).to_numpy().astype(np.float64) for family, column in FAMILIES.items()}
    hybrid = learn_hybrid(z, gold, fold[:, segments.ids.numpy()], plan.weights.get(HYBRID, 0.0) > 0, note)
    if hybrid.prior is not None:
        known[HYBRID] = hybrid.prior
    scales = {family: scale_of(values, rows) for family, values in known.items()}
    note_constants(known, scales, rows, note)
    examples = Examples(
        features=torch.from_numpy(features),
        priors={family: _prior(values, scales[family]) for family, values in known.items()},
        families={
            family: _signs(standardiser, () if plan.scorer == "concat" else evidence_names, family, features.shape[-1])
            for family in known
        },
        segments=segments,
        units=supervision.units,
        labels=supervision.labels,
        fold=torch.from_numpy(fold),
        train=torch.from_numpy(supervision.split == "train"),
        dev=torch.from_numpy(supervision.split == "dev") & ~torch.isnan(supervision.labels),
        gold=torch.from_numpy(gold),
        terms=prior_terms(inputs, priors, segments, plan.weights, rows, hybrid.targets, note),
    )
    fit = Fit(standardiser, comparison)
    return Assembled(examples, evidence.select(list(KEYS)), supervision, fit, names, scales)


def _folds(responses: pa.Table, supervision: Supervision, golden: NDArray[np.bool_], plan: Plan) -> NDArray[np.int64]:
    """Deal train responses that have a label, or sentences with one (golden), into folds, int64 [repeats, B]."""
    groups = [str(group) for group in responses.column("group").to_pylist()]
    labelled = np.isfinite(supervision.labels.numpy()) & (supervision.split == "train")
    taught = golden.copy()
    taught[supervision.units.numpy()[labelled].ravel()] = True
    dealt = [assign_folds(groups, plan.folds, plan.seed + 1_000_003 * repeat) for repeat in range(plan.repeats)]
    return np.where(taught, np.stack(dealt), NO_FOLD)


def _signs(standardiser: EvidenceStandardiser, names: Sequence[str], family: str, width: int) -> torch.Tensor:
    """Return the expected sign of each feature that belongs to a family, 0 for all others: float32 [width]."""
    signs = np.zeros(width, dtype=np.float32)
    if names:
        mine = standardiser.used & (comparisons(names) == family)
        signs[: len(names)] = np.where(mine, standardiser.sign, 0)
    return torch.from_numpy(signs)


def _unnamed(count: int, scorer: str) -> tuple[str, ...]:
    """Return names for columns that are directions of vectors and not evidence."""
    return tuple(f"{scorer}_{number}" for number in range(count))


def _prior(values: NDArray[np.float64], scale: tuple[float, float]) -> torch.Tensor:
    """Return a prior in units of its own standard deviation, 0 where there is none: float32 [N]."""
    return torch.from_numpy(np.nan_to_num(scaled(values, *scale)).astype(np.float32))
