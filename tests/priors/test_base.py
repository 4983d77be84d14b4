"""How many sentences lead."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.priors.base import leading
from fractal_core.priors.sentences import Sentences


@pytest.mark.parametrize(
    ("size", "least"),
    [(1, 1), (31, 31), (32, 32), (33, 32), (652, 640), (100_001, 98_304), (825_830, 819_200), (900_000, 884_736)],
)
def test_a_rounded_number_leads(size: int, least: int) -> None:
    """Five bits of it are kept, at most 32,768 sentences come after and what they share a response with."""
    vectors, text = np.zeros((size, 1), dtype=np.float32), np.arange(size)
    assert len(leading(Sentences(vectors, text, text)).text) == least
    base = leading(Sentences(vectors, text // 2, text // 3))
    assert least - 3 < len(base.text) <= least
    assert len(base.vectors) == -(-len(base.text) // 2)
    assert len(base.response) == len(base.text)
    assert len(base.text) in (size, 3 * (len(base.text) // 3))
