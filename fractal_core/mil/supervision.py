"""What the labels of responses teach: units, their labels on the scale of training, and their splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.segments import Segments

# Fewer real labels have no percentiles worth the name: their range is that of all of them.
_FEW = 20
_REACH = 1.5


@dataclass(frozen=True, eq=False)
class Supervision:
    """Units of one response each, or of two where pairs are compared.

    Attributes:
        units: int64 [U, W], rows of table responses.
        labels: float64 [U] as `Task.losses` takes them: shares for counts and real values; NaN for unlabelled.
        split: [U], train, dev or test.
        low: what a share of 0 stands for in the unit of the labels.
        high: what a share of 1 stands for.
        given: float64 [U], the labels of units whose label is clipped in `labels`; None if there are none.
    """

    units: Tensor
    labels: Tensor
    split: NDArray[np.object_]
    low: float = 0.0
    high: float = 1.0
    given: Tensor | None = None

    def as_given(self, examples: Examples) -> Examples:
        """Return the examples for what is to agree with the labels, not to be learned from them: with none clipped.

        Units whose label was clipped leave `train`, or the error on them would be what all values are said to vary by.
        """
        if self.given is None:
            return examples
        clipped = (self.labels != self.given) & ~torch.isnan(self.given)
        return replace(examples, labels=self.given, train=examples.train & ~clipped)


def supervise(
    responses: pa.Table,
    segments: Segments,
    kind: str,
    highest_grade: int | None,
    note: Callable[[str], None],
    span: tuple[float, float] | None = None,
) -> Supervision:
    """Return the units of a data set.

    Args:
        responses: response_id, label, split; pair and preferred for preferences.
        segments: their sentences.
        kind: of the labels, as trained (`fractal_core.label_kinds.trained_kind`).
        highest_grade: of grades that are trained as real values; None otherwise.
        note: told what could not be used.
        span: what shares of 0 and 1 of real values stand for, where that is settled; None to take it from train.
    """
    split = np.array(responses.column("split").to_pylist(), dtype=object)
    if kind == "preference":
        return _pairs(responses, split)
    labels = responses.column("label").to_numpy().astype(np.float64)
    low, high = 0.0, 1.0
    given = None
    if kind == "count":
        sizes = segments.sizes.numpy()
        over = labels > sizes
        if over.any():
            first = responses.column("response_id")[int(over.argmax())]
            note(f"{int(over.sum())} responses have a count above their number of sentences, first {first}: unlabelled")
        labels = np.where(over, np.nan, labels / sizes)
    elif kind == "real" and highest_grade is not None:
        high = float(highest_grade)
        labels = labels / high
    elif kind == "real":
        least, most = _fences(labels[split == "train"])
        far = ((labels < least) | (labels > most)) & (split != "test")
        if span is None:
            regular = labels[(split == "train") & (labels >= least) & (labels <= most)]
            span = float(regular.min()), float(regular.max())
            _note_far(labels, far, split, responses, span, note)
        low, high = span
        labels = (labels - low) / (high - low)
        if far.any():
            given = torch.from_numpy(labels)
            labels = np.where(far, labels.clip(0.0, 1.0), labels)
    units = torch.arange(len(labels))[:, None]
    return Supervision(units, torch.from_numpy(labels), split, low, high, given)


def _note_far(
    labels: NDArray[np.float64],
    far: NDArray[np.bool_],
    split: NDArray[np.object_],
    responses: pa.Table,
    span: tuple[float, float],
    note: Callable[[str], None],
) -> None:
    if not far.any():
        return
    first, (low, high) = int(far.argmax()), span
    note(
        f"{int(far.sum()):,} of {int((np.isfinite(labels) & (split != 'test')).sum()):,} real labels of train "
        f"and dev are far from the others, the first being {labels[first]:g} of response "
        f"{responses.column('response_id')[first]}: in training those below {low:g} count as {low:g} and those "
        f"above {high:g} as {high:g}; mend them if they are errors"
    )


def _fences(labels: NDArray[np.float64]) -> tuple[float, float]:
    """Return between which values real labels are regular: what they range over is what a share is a share of.

    Fences after Tukey (Exploratory Data Analysis, 1977), but 1.5 times the distance of the 1st and 99th percentile
    beyond these and not of the quartiles, which ratings that mostly agree would put on one spot. The percentiles are
    the labels next to them on the inner side, so that one extreme label does not move them however few there are. No
    fences where there are fewer than 20 labels, two values, or one that nearly all have.
    """
    ordered = np.sort(labels[np.isfinite(labels)])
    outer = -(-(len(ordered) - 1) // 100)
    if len(ordered) < _FEW or len(np.unique(ordered)) <= 2 or ordered[outer] == ordered[-1 - outer]:
        return -np.inf, np.inf
    reach = _REACH * (ordered[-1 - outer] - ordered[outer])
    return float(ordered[outer] - reach), float(ordered[-1 - outer] + reach)


def _pairs(responses: pa.Table, split: NDArray[np.object_]) -> Supervision:
    """Return a unit for each pair, the response that was given first in front."""
    ids, pair = responses.column("response_id").combine_chunks(), responses.column("pair").combine_chunks()
    parts: list[Any] = [pair, pa.scalar("a"), pa.scalar("#")]
    is_first = pc.equal(ids, pc.binary_join_element_wise(*parts))
    first = np.flatnonzero(is_first.fill_null(False).to_numpy(zero_copy_only=False))
    parts[1] = pa.scalar("b")
    second = pc.index_in(pc.binary_join_element_wise(*parts).take(pa.array(first)), value_set=ids)
    units = np.stack([first, second.to_numpy(zero_copy_only=False).astype(np.int64)], axis=1)
    preferred = responses.column("preferred").to_numpy().astype(np.float64)[first]
    return Supervision(torch.from_numpy(units), torch.from_numpy(preferred), split[first])
