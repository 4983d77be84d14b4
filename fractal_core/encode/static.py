"""The static encoder: a text is the weighted sum of fixed vectors of its tokens; thousands of texts a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from fractal_core.encode.reading import Reading
from fractal_core.encode.tokenising import Tokeniser


class StaticEncoder:
    """Vectors of tokens that were made once, and a tokenizer."""

    def __init__(self, tokeniser: Tokeniser, vectors: np.ndarray, weights: np.ndarray) -> None:
        """Take the vectors.

        Args:
            tokeniser: of the encoder that they were made from.
            vectors: float16 [2, vocabulary, d], of length 1, of the middle and the last layer.
            weights: float32 [vocabulary], how much each token counts in the vector of a text.
        """
        self.tokeniser = tokeniser
        self.dimensions = int(vectors.shape[2])
        self._vectors = vectors
        self._weights = weights
        self._weighted = torch.from_numpy(vectors[1] * weights[:, None])

    def read(self, texts: Sequence[str], advance: Callable[[int], None] = lambda characters: None) -> list[Reading]:
        """Look up each text; the result does not depend on the order or the company of a text, to the last bit.

        Args:
            texts: any strings; one without tokens has the vector 0.
            advance: called with the number of characters.

        Returns:
            One `Reading` a text, in the order of `texts`.
        """
        if not texts:
            return []
        coded = self.tokeniser.code(texts)
        pooled = self._pooled([text.token_ids for text in coded])
        advance(sum(map(len, texts)))
        return [
            Reading(
                pooled=vector,
                tokens=self._vectors[:, text.token_ids],
                weights=self._weights[text.token_ids],
                token_ids=text.token_ids,
                offsets=text.offsets,
            )
            for text, vector in zip(coded, pooled, strict=True)
        ]

    @torch.inference_mode()
    def _pooled(self, texts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the weighted sums of texts' tokens, scaled to length 1: float32 [d] each."""
        lengths = torch.tensor([len(ids) for ids in texts])
        sums = torch.nn.functional.embedding_bag(
            torch.from_numpy(np.concatenate(texts)).long(), self._weighted, lengths.cumsum(0) - lengths, mode="sum"
        )
        return [vector.copy() for vector in torch.nn.functional.normalize(sums, dim=1).numpy()]
