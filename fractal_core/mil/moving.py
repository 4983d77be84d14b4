"""Everything that training looks at, on another device: tensors inside of dataclasses, dictionaries and tuples."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor

Anything = TypeVar("Anything")


def moved(value: Anything, device: str) -> Anything:
    """Return a value with every tensor in it on a device; what was worked out before moves along.

    Args:
        value: a tensor, a dictionary, list or tuple of values, or an object of this package that holds such. Anything
            else stays what it is.
        device: of PyTorch.
    """
    result: Anything = _moved(value, device)
    return result


def _moved(value: Any, device: str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_moved(each, device) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if type(value).__module__.split(".")[0] == __name__.split(".")[0]:
        copy = object.__new__(type(value))
        copy.__dict__.update(_moved(vars(value), device))
        return copy
    return value
