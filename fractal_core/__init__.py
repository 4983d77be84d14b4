"""Learn sentence scores from response labels."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fractal_core.scoring.scorer import Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> Any:
    """Import the scorer when it is first asked for: the command line does without PyTorch where it can."""
    if name in __all__:
        return getattr(import_module("fractal_core.scoring.scorer"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
