"""What a scorer reads of sentences: features and priors, standardised. No label has a part in it.

What is fitted for that (`Fit`) is fitted on the sentences of train responses and kept with the scorer, so that those of
other responses are read alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fractal_core.mil.examples import segments_of
from fractal_core.mil.gold import HYBRID
from fractal_core.mil.place import NAMES as PLACE
from fractal_core.mil.place import place_features
from fractal_core.mil.prior_terms import note_constants, scale_of, scaled
from fractal_core.mil.scorers.comparison import Comparison
from fractal_core.mil.scorers.inputs import concat_features, mlp_features
from fractal_core.mil.scorers.texts import sentence_texts
from fractal_core.priors.evidence_prior import EvidenceStandardiser, comparisons, feature_matrix
from fractal_core.priors.hybrid import log_odds, of_own_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fractal_core.mil.scorers.features import Features
    from fractal_core.mil.segments import Segments
    from fractal_core.store.stage import Inputs

KEYS = ("response_id", "sentence_index")
# Family -> column of table priors that training may start from.
FAMILIES = {
    "context": "context_evidence",
    "query": "query_evidence",
    "column": "column_prior",
    "sql": "sql_prior",
}
# Of these, what evidence is compared with; they follow from it and its standardisation.
_OF_EVIDENCE = ("context", "query")


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted to train responses and is needed to read others alike.

    Attributes:
        standardiser: of the evidence.
        comparison: of vectors, for the scorer that compares them.
        scales: family -> mean and standard deviation of that prior over train sentences.
        hybrid: float64 [K, 1 + F], the regression of gold labels on evidence that each fold's member of the first
            dealing has, the bias first; None if there is none.
        span: what shares of 0 and 1 stand for in the unit of the labels.
    """

    standardiser: EvidenceStandardiser
    comparison: Comparison | None
    scales: dict[str, tuple[float, float]]
    hybrid: NDArray[np.float64] | None = None
    span: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Sentences:
    """N sentences of B responses.

    Attributes:
        keys: response_id and sentence_index.
        segments: the responses.
        features: [N, F], as the scorer reads them.
        names: of the F features.
        evidence: float32 [N, E], standardised.
        priors: family -> float32 [N], in units of its standard deviation, 0 where there is none.
        families: family -> float32 [F], the expected sign of each feature that belongs to it, 0 for the others.
        train: bool [N], sentences of train responses.
        fit: what was fitted, here or before.
    """

    keys: pa.Table
    segments: Segments
    features: Features
    names: tuple[str, ...]
    evidence: NDArray[np.float32]
    priors: dict[str, torch.Tensor]
    families: dict[str, torch.Tensor]
    train: NDArray[np.bool_]
    fit: Fit

    def with_prior(
        self,
        family: str,
        values: NDArray[np.float64],
        scale: tuple[float, float] | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> Sentences:
        """Return them with one more prior, which no feature belongs to.

        Args:
            family: its name.
            values: [N].
            scale: its mean and standard deviation; None to take those over train sentences.
            note: told if they then say nothing.
        """
        if scale is None:
            scale = scale_of(values, self.train)
            note_constants({family: values}, {family: scale}, self.train, note)
        return replace(
            self,
            priors={**self.priors, family: _prior(values, scale)},
            families={**self.families, family: torch.zeros(self.features.shape[-1])},
            fit=replace(self.fit, scales={**self.fit.scales, family: scale}),
        )

    def with_hybrid(self, fitted: Fit, fold: NDArray[np.int64]) -> Sentences:
        """Return them with the hybrid prior of an earlier fit, if it has one.

        Args:
            fitted: the fit.
            fold: int64 [N], in its first dealing, of the sentences; -1 for the mean of all members.
        """
        if fitted.hybrid is None:
            return self
        prior = of_own_fold(log_odds(fitted.hybrid, self.evidence), fold)
        return self.with_prior(HYBRID, prior, fitted.scales[HYBRID])


def read_sentences(
    inputs: Inputs,
    scorer: str,
    chunk_tokens: int,
    position: bool,
    fitted: Fit | None,
    note: Callable[[str], None] = lambda text: None,
) -> Sentences:
    """Read sentences from responses, evidence and priors, and, for a scorer of vectors, sentences and embeddings.

    Args:
        inputs: the tables, sentence tables in one order. Of table responses no label is looked at.
        scorer: a key of `SCORERS`, or "finetune".
        chunk_tokens: as stage `embed` cut the context.
        position: whether a sentence's place in its response is among the features.
        fitted: to be used instead of what would be fitted on the sentences of train responses.
        note: told which priors say nothing, if they are fitted here.
    """
    responses, evidence, priors = (inputs.table(name) for name in ("responses", "evidence", "priors"))
    evidence_names = tuple(name for name in evidence.column_names if name not in KEYS)
    owners = pc.index_in(evidence.column("response_id"), value_set=responses.column("response_id").combine_chunks())
    segments = segments_of(owners.to_numpy().astype(np.int64), responses.num_rows)
    split = np.array(responses.column("split").to_pylist(), dtype=object)
    rows = (split == "train")[segments.ids.numpy()]
    matrix = feature_matrix(evidence, evidence_names)
    standardiser = fitted.standardiser if fitted else EvidenceStandardiser.fit(matrix, evidence_names, rows)
    z = standardiser.standardise(matrix)
    known = {family: priors.column(column).to_numpy().astype(np.float64) for family, column in FAMILIES.items()}
    if fitted:
        # Table priors has them by the mean and deviation of the train sentences that there are now.
        against = comparisons(evidence_names)
        known |= {family: standardiser.apply(matrix, against == family).astype(np.float64) for family in _OF_EVIDENCE}
        scales = {family: fitted.scales[family] for family in known}
    else:
        scales = {family: scale_of(values, rows) for family, values in known.items()}
        note_constants(known, scales, rows, note)
    comparison = fitted.comparison if fitted else None
    features: Features = torch.from_numpy(z)
    named = evidence_names
    if scorer in ("mlp", "concat"):
        batches = inputs.batches("embeddings")
        texts = sentence_texts(responses, inputs.table("sentences"), batches, chunk_tokens)
        if scorer == "mlp":
            comparison = comparison or Comparison.fit(texts, rows)
            features = torch.from_numpy(mlp_features(z, texts, comparison))
        else:
            features, named = concat_features(texts), ()
    # Directions of vectors have no names of their own.
    names = (*named, *(f"{scorer}_{number}" for number in range(features.shape[-1] - len(named))))
    if position and isinstance(features, torch.Tensor):
        features = torch.cat([features, place_features(segments)], dim=1)
        names = (*names, *PLACE)
    return Sentences(
        keys=evidence.select(list(KEYS)),
        segments=segments,
        features=features,
        names=names,
        evidence=z,
        priors={family: _prior(values, scales[family]) for family, values in known.items()},
        families={family: _signs(standardiser, named, family, features.shape[-1]) for family in known},
        train=rows,
        fit=Fit(standardiser, comparison, scales),
    )


def _signs(standardiser: EvidenceStandardiser, names: Sequence[str], family: str, width: int) -> torch.Tensor:
    """Return the expected sign of each feature that belongs to a family, 0 for all others: float32 [width]."""
    signs = np.zeros(width, dtype=np.float32)
    if names:
        mine = standardiser.used & (comparisons(names) == family)
        signs[: len(names)] = np.where(mine, standardiser.sign, 0)
    return torch.from_numpy(signs)


def _prior(values: NDArray[np.float64], scale: tuple[float, float]) -> torch.Tensor:
    """Return a prior in units of its own standard deviation, 0 where there is none: float32 [N]."""
    return torch.from_numpy(np.nan_to_num(scaled(values, *scale)).astype(np.float32))
