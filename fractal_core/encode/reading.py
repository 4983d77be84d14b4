"""What the encoder says of one text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reading:
    """The vectors of one text.

    Attributes:
        pooled: float32 [dimensions], mean over the attention mask, L2-normalised.
        tokens: float16 [2, tokens, dimensions], L2-normalised vectors of the middle and the last layer, without
            special tokens.
        token_ids: int32 [tokens], ids in the encoder's vocabulary.
        offsets: int32 [tokens, 2], [start, end) of each token in the text.
    """

    pooled: np.ndarray
    tokens: np.ndarray
    token_ids: np.ndarray
    offsets: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return self.pooled.nbytes + self.tokens.nbytes + self.token_ids.nbytes + self.offsets.nbytes
