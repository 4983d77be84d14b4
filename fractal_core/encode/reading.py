"""What the encoder says of one text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from fractal_core.encode.tokenising import Tokeniser


@dataclass(frozen=True)
class Reading:
    """The vectors of one text.

    Attributes:
        pooled: float32 [dimensions], L2-normalised: of a transformer the mean over its tokens, special ones included.
        tokens: float16 [2, tokens, dimensions], L2-normalised vectors of the middle and the last layer, without
            special tokens.
        weights: float32 [tokens], how much each last-layer vector counts in the vector of several tokens.
        token_ids: int32 [tokens], ids in the encoder's vocabulary.
        offsets: int32 [tokens, 2], [start, end) of each token in the text.
    """

    pooled: np.ndarray
    tokens: np.ndarray
    weights: np.ndarray
    token_ids: np.ndarray
    offsets: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        arrays = (self.pooled, self.tokens, self.weights, self.token_ids, self.offsets)
        return sum(array.nbytes for array in arrays)


class TextEncoder(Protocol):
    """What reads texts: a transformer, or vectors made from one."""

    tokeniser: Tokeniser
    dimensions: int

    def read(self, texts: Sequence[str], advance: Callable[[int], None]) -> list[Reading]:
        """Return one `Reading` a text, in order; `advance` hears of characters read."""
