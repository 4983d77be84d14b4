"""A second device for machines that have none: tensors there refuse to meet those of the CPU.

It goes by the name "meta", whose tensors have no content of their own; here they have, and are computed with on the
CPU. A tensor that is made without saying where, or left behind, is an error, as it would be on a GPU: but for a single
number.
"""

from __future__ import annotations

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = "meta"


class _There(torch.Tensor):
    """A tensor on the second device."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=ELSEWHERE
        )
        made.inner = inner
        return made

    def tolist(self):
        """Return its numbers."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Elsewhere(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Given(TorchFunctionMode):
    """`torch.tensor` of given numbers does without the operations that are watched."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == ELSEWHERE:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(ELSEWHERE)
        return function(*args, **kwargs)


def _compute(operation, args, kwargs):
    given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    there = [each for each in given if isinstance(each, _There)]
    here = [each for each in given if not isinstance(each, _There) and each.dim() > 0]
    asked = kwargs.get("device")
    moves = operation in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    if there and here and not moves:
        raise RuntimeError(f"{operation} of tensors on two devices")
    if asked is not None:
        kwargs = {**kwargs, "device": "cpu"}
    args, kwargs = tree_map(lambda each: each.inner if isinstance(each, _There) else each, (args, kwargs))
    found = operation(*args, **kwargs)
    if (torch.device(asked).type != ELSEWHERE) if asked is not None else not there:
        return found
    known = {id(each.inner): each for each in there}  # what is changed in place stays the tensor it is

    def wrap(each):
        return known.get(id(each), _There(each)) if isinstance(each, torch.Tensor) else each

    return tree_map(wrap, found)


@contextmanager
def second_device():
    """Have the device ELSEWHERE while the context lasts; PyTorch's fused optimisers take it, too."""
    fused = "torch.optim.optimizer._get_fused_kernels_supported_devices"
    with patch(fused, lambda: ["cpu", ELSEWHERE]), _Elsewhere(), _Given():
        yield
