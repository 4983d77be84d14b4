"""What a search for the nearest vectors takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# [Q, K] float32 inner products in descending order, and [Q, K] int64 numbers of vectors, -1 where fewer were found.
Found: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.int64]]"

# ([Q, D] float32, K) -> what was found.
Nearest: TypeAlias = Callable[["NDArray[np.float32]", int], Found]
