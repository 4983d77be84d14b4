"""Sentences as priors compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Sentences(NamedTuple):
    """Sentences by the vector of their text and by their response.

    Attributes:
        vectors: [T, D] float32 of length 1, one a distinct text.
        text: [N] int64, the distinct text of each sentence.
        response: [N] int64, non-decreasing: the response of each sentence.
    """

    vectors: NDArray[np.float32]
    text: NDArray[np.int64]
    response: NDArray[np.int64]
