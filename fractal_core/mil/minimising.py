"""The minima of several smooth functions of a few numbers each, found at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

# Of points float64 [T, P], one a function: the values [T] and gradients [T, P] there.
Functions: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

_STEPS, _SHORTENINGS = 100, 20
_FLAT = 1e-8
# Of the decrease that the gradient promises, how much a step has to give (Armijo).
_ENOUGH = 1e-4
# A value this much worse, as a share of it, is the same but for rounding: that is where a search has to end.
_ROUNDING = 1e-14


def minimise(functions: Functions, start: Tensor) -> Tensor:
    """Go downhill by BFGS with a line search (Nocedal and Wright, Numerical Optimization, chapters 3 and 6).

    Every function has a curvature and a step of its own, so that its minimum does not depend on what others are
    looked for beside it.

    Args:
        functions: all of them, at points of their own.
        start: float64 [T, P].

    Returns:
        float64 [T, P], where no number of a gradient exceeds 1e-8, or where no step on the way there goes down any
        further; or else after 100 steps.
    """
    point, (value, gradient) = start, functions(start)
    count, width = start.shape
    inverse = torch.eye(width, dtype=start.dtype).expand(count, width, width)
    ended = torch.zeros(count, dtype=torch.bool)
    for number in range(_STEPS):
        ended |= (gradient.abs() <= _FLAT).all(1)
        if bool(ended.all()):
            break
        direction = -(inverse @ gradient[..., None]).squeeze(-1)
        if number == 0:  # Without a curvature a gradient says where to go, but not how far.
            direction = direction / gradient.norm(dim=1, keepdim=True).clamp(min=1.0)
        slope = (direction * gradient).sum(1)
        step, found_value, found_gradient = _step(functions, point, value, gradient, direction, slope, ended)
        moved = torch.where((step > 0)[:, None], step[:, None] * direction, 0.0)
        inverse = _updated(inverse, moved, found_gradient - gradient, first=number == 0)
        point, value, gradient = point + moved, found_value, found_gradient
        ended |= step == 0
    return point


def _step(
    functions: Functions,
    point: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    slope: Tensor,
    ended: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far to go, [T], 0 where nothing is gained, and the values and gradients there."""
    step = torch.where(ended, 0.0, 1.0).to(point.dtype)
    for _ in range(_SHORTENINGS):
        found_value, found_gradient = functions(point + step[:, None] * direction)
        allowed = value + _ENOUGH * step * slope + _ROUNDING * value.abs()
        short = ~((found_value <= allowed) & torch.isfinite(found_gradient).all(1)) & (step > 0)
        if not bool(short.any()):
            return step, found_value, found_gradient
        # The minimum of the parabola through what is known, within bounds.
        curve = 2 * (found_value - value - step * slope)
        guess = torch.where(torch.isfinite(curve) & (curve > 0), -slope * step.square() / curve, 0.0)
        step = torch.where(short, torch.maximum(torch.minimum(guess, 0.5 * step), 0.1 * step), step)
    kept = torch.where(short, 0.0, step)
    return kept, torch.where(short, value, found_value), torch.where(short[:, None], gradient, found_gradient)


def _updated(inverse: Tensor, moved: Tensor, change: Tensor, first: bool) -> Tensor:
    """Return the inverse curvature, [T, P, P], that maps the change of a gradient to the way that was gone.

    Where the way was not curved upwards, the next step is to be longer.
    """
    product = (moved * change).sum(1)
    curved = product > 1e-12 * moved.norm(dim=1) * change.norm(dim=1)
    rate = torch.where(curved, 1 / torch.where(curved, product, 1.0), 0.0)
    if first:  # It was as long as a guess; now the size of a curvature is known.
        size = torch.where(curved, product / change.square().sum(1).clamp(min=1e-300), 1.0)
        inverse = inverse * size[:, None, None]
    identity = torch.eye(moved.shape[1], dtype=moved.dtype)
    left = identity - rate[:, None, None] * moved[:, :, None] * change[:, None, :]
    right = left.transpose(1, 2)
    new = left @ inverse @ right + rate[:, None, None] * moved[:, :, None] * moved[:, None, :]
    longer = torch.where((moved != 0).any(1), 4.0, 1.0)[:, None, None] * inverse
    return torch.where(curved[:, None, None], new, longer)
