"""The evidence prior: how much the evidence speaks for a sentence, with no label looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.errors import StoreError
from fractal_core.evidence.catalogue import FEATURES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

CLIP = 4.0
# A column whose spread is within float32 rounding of its size carries no information, only noise to be blown up.
ROUNDING = 1e-6


def feature_matrix(evidence: pa.Table, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the named columns of table `evidence` as one matrix.

    Returns:
        [N, F] float32, NaN where a value is null.
    """
    matrix = np.empty((evidence.num_rows, len(names)), dtype=np.float32)
    for index, name in enumerate(names):
        matrix[:, index] = evidence.column(name).to_numpy()
    return matrix


def expected_signs(names: Sequence[str]) -> NDArray[np.int8]:
    """Return the catalogue's sign of each named feature.

    Returns:
        [F] int8 in {-1, 0, +1}.

    Raises:
        StoreError: a name is not in the catalogue.
    """
    signs = {feature.name: feature.sign for feature in FEATURES}
    for name in names:
        if name not in signs:
            message = (
                f"Table evidence has a column {name!r} that is none of the {len(signs)} catalogued features; "
                f"run again with --force embed."
            )
            raise StoreError(message)
    return np.array([signs[name] for name in names], dtype=np.int8)


def comparisons(names: Sequence[str]) -> NDArray[np.str_]:
    """Return what each named feature compares the sentence with: "context", "query" or "response", [F]."""
    against = {feature.name: feature.against for feature in FEATURES}
    return np.array([against[name] for name in names], dtype=np.str_)


@dataclass(frozen=True)
class EvidenceStandardiser:
    """Standardises evidence features and averages them into the evidence prior.

    Attributes:
        mean: [F] float64, mean over the fitted rows, nulls left out; 0 where not used.
        scale: [F] float64, population standard deviation over the same rows; 1 where not used.
        sign: [F] int8 in {-1, 0, +1}: what more of the feature is expected to mean.
        used: [F] bool, False for features that are constant or all null in the fitted rows.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    sign: NDArray[np.int8]
    used: NDArray[np.bool_]

    @classmethod
    def fit(
        cls, features: NDArray[np.float32], names: Sequence[str], rows: NDArray[np.bool_] | NDArray[np.int64]
    ) -> EvidenceStandardiser:
        """Take means and scales from some of the rows (the sentences of train responses).

        Args:
            features: [N, F] float32, NaN for null.
            names: the F names of the columns, to be found in the catalogue.
            rows: [N] bool, or the indices of the rows to use.

        Raises:
            StoreError: a name is not in the catalogue.
        """
        count = len(names)
        sign = expected_signs(names)
        mean, scale, used = np.zeros(count), np.ones(count), np.zeros(count, dtype=np.bool_)
        for index in range(count):
            column = features[rows, index].astype(np.float64)
            column = column[np.isfinite(column)]
            if column.size == 0:
                continue
            spread = float(column.std())
            if spread > ROUNDING * float(np.abs(column).max()):
                mean[index], scale[index], used[index] = column.mean(), spread, True
        return cls(mean, scale, sign, used)

    def standardise(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return z-scores, not yet signed.

        Args:
            features: [N, F] float32, NaN for null.

        Returns:
            [N, F] float32 in [-4, 4]; 0 for nulls and for features that are not used.
        """
        scores = np.zeros(features.shape, dtype=np.float32)
        for index in np.flatnonzero(self.used):
            scores[:, index] = self._column(features, int(index))
        return scores

    def apply(self, features: NDArray[np.float32], chosen: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Return an evidence prior: the equal-weight mean of the signed z-scores of all or some features.

        Args:
            features: [N, F] float32, NaN for null.
            chosen: [F] bool, the features to take; all if None.

        Returns:
            [N] float32 in [-4, 4]: the mean over the features present in the row, of those that are used and have
            a sign; NaN where there is none.
        """
        total = np.zeros(len(features))
        present = np.zeros(len(features), dtype=np.int64)
        usable = self.used & (self.sign != 0)
        for index in np.flatnonzero(usable if chosen is None else usable & chosen):
            total += self.sign[index] * self._column(features, int(index))
            present += np.isfinite(features[:, index])
        prior = np.full(len(features), np.nan, dtype=np.float32)
        np.divide(total, present, out=prior, where=present > 0, casting="same_kind")
        return prior

    def _column(self, features: NDArray[np.float32], index: int) -> NDArray[np.float64]:
        values = features[:, index].astype(np.float64)
        scores: NDArray[np.float64] = np.clip((values - self.mean[index]) / self.scale[index], -CLIP, CLIP)
        scores[~np.isfinite(values)] = 0.0
        return scores

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the four arrays by name, for safetensors."""
        return {"mean": self.mean, "scale": self.scale, "sign": self.sign, "used": self.used}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> EvidenceStandardiser:
        """Return the standardiser whose `arrays` these are."""
        return cls(
            arrays["mean"].astype(np.float64),
            arrays["scale"].astype(np.float64),
            arrays["sign"].astype(np.int8),
            arrays["used"].astype(np.bool_),
        )
