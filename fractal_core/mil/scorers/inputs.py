"""The feature matrices of the scorers that read vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fractal_core.mil.scorers.features import Joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.mil.scorers.comparison import Comparison
    from fractal_core.mil.scorers.texts import SentenceTexts


def mlp_features(evidence: NDArray[np.float32], texts: SentenceTexts, comparison: Comparison) -> NDArray[np.float32]:
    """Return standardised evidence [N, E] and the comparison of vectors side by side, float32 [N, E + 4 R]."""
    return np.concatenate([evidence.astype(np.float32), comparison.features(texts)], axis=1)


def concat_features(texts: SentenceTexts) -> Joined:
    """Return the vectors [chunk; query; sentence], the input of FRACTAL's scorer (arXiv 2404.04817).

    Of a long context the C nearest chunks alone are read, so the largest score over them can be below the largest
    over all chunks.

    Returns:
        [N, 3 D] for C = 1, else [N, C, 3 D]; zeros where there is no chunk or no query.
    """
    parts = np.broadcast_arrays(texts.chunks, texts.query[:, None], texts.sentence[:, None])
    rows = torch.from_numpy(np.stack(parts, axis=-1))
    return Joined(torch.from_numpy(texts.vectors), rows[:, 0] if rows.shape[1] == 1 else rows)
