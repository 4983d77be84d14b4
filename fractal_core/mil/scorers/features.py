"""What a scorer reads of sentences: a matrix, or the vectors of several texts side by side, each text's held once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from fractal_core.mil.scorers.products import affine, multiply
from fractal_core.mil.scorers.texts import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where more than this share of the texts of a batch are distinct, they are taken as they come.
_MOSTLY_DISTINCT = 0.9
# Units of the first layer: enough for a quick product, and few enough to stay in a cache.
_MULTIPLIED_AT_ONCE, _ADDED_AT_ONCE = 1_024, 64


@dataclass(frozen=True, eq=False)
class Joined:
    """Rows of features that are the vectors of P texts side by side, of V texts in all.

    Attributes:
        vectors: float32 [V, D].
        texts: int64 [N, P] or, of C readings of a sentence, [N, C, P]: rows of `vectors`, NONE for zeros.
    """

    vectors: Tensor
    texts: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the matrix they stand for: [N, P D] or [N, C, P D]."""
        *leading, parts = self.texts.shape
        return (*leading, parts * self.vectors.shape[1])

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.texts)

    def __getitem__(self, rows: Tensor | slice) -> Joined:
        """Return those of some sentences."""
        return Joined(self.vectors, self.texts[rows])


Features: TypeAlias = "Tensor | Joined"


def dense(features: Features) -> Tensor:
    """Return features as the matrix that they are or stand for."""
    if isinstance(features, Tensor):
        return features
    rows = features.texts.reshape(-1)
    return _vectors(features.vectors, rows).reshape(features.shape)


def readings(features: Features) -> Features:
    """Return all readings of all sentences, one below the other: [N, F] or [N * C, F]."""
    if isinstance(features, Tensor):
        return features.reshape(-1, features.shape[-1])
    return Joined(features.vectors, features.texts.reshape(-1, features.texts.shape[-1]))


def blocks(features: Features, rows: int) -> Iterator[Features]:
    """Return features in blocks of some rows, at least one block."""
    return (features[block] for block in _blocks(max(1, len(features)), rows))


def affine_of(bias: Tensor, weights: Tensor, features: Features) -> Tensor:
    """Return bias[:, None] + weights @ features.T, [R, N]. A text that many rows have is multiplied once.

    Args:
        bias: [R].
        weights: [R, F].
        features: [N, F].
    """
    if isinstance(features, Tensor):
        return affine(bias, weights, features.T)
    result: Tensor = _JoinedAffine.apply(bias, weights, features)  # type: ignore[no-untyped-call]
    return result


class _Part(NamedTuple):
    """The texts of one part of all rows: their vectors [u, D], and the one of each row, None if they are the rows'."""

    vectors: Tensor
    place: Tensor | None


class _JoinedAffine(torch.autograd.Function):
    """The affine map of joined vectors, and its gradients: those of the vectors are not wanted."""

    @staticmethod
    def forward(context: Any, bias: Tensor, weights: Tensor, features: Joined) -> Tensor:
        first, *others = context.parts = [_part(features.vectors, texts) for texts in features.texts.T]
        width = features.vectors.shape[1]
        result = multiply(weights[:, :width], first.vectors.T)
        if first.place is not None:
            result = result.index_select(1, first.place)
        result += bias[:, None]
        for number, part in enumerate(others, start=1):
            own = weights[:, number * width : (number + 1) * width]
            for units in _blocks(len(result), _MULTIPLIED_AT_ONCE):
                _add(result[units], multiply(own[units], part.vectors.T), part.place)
        return result

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        of_weights = [multiply(_gathered(gradient, part), part.vectors) for part in context.parts]
        return gradient.sum(1), torch.cat(of_weights, dim=1), None


def _add(result: Tensor, product: Tensor, place: Tensor | None) -> None:
    """Add the product of each distinct text, [R, u], at its place in each row, [R, N]."""
    if place is None:
        result += product
        return
    for units in _blocks(len(result), _ADDED_AT_ONCE):
        result[units] += product[units].index_select(1, place)


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _part(vectors: Tensor, texts: Tensor) -> _Part:
    distinct, place = torch.unique(texts, return_inverse=True)
    if len(distinct) > _MOSTLY_DISTINCT * len(texts):
        return _Part(_vectors(vectors, texts), None)
    return _Part(_vectors(vectors, distinct), place)


def _vectors(vectors: Tensor, rows: Tensor) -> Tensor:
    missing = rows == NONE
    if not bool(missing.any()):
        return vectors.index_select(0, rows)
    found = vectors.new_zeros(len(rows), vectors.shape[1])
    found[~missing] = vectors.index_select(0, rows[~missing])
    return found


def _gathered(gradient: Tensor, part: _Part) -> Tensor:
    """Return the gradient of each distinct text, [R, u], from that of each row, [R, N]."""
    if part.place is None:
        return gradient
    result = gradient.new_zeros(len(gradient), len(part.vectors))
    return result.scatter_add_(1, part.place.expand_as(gradient), gradient)
