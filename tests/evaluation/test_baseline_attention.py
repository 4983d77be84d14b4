"""Attention pooling, shared out to sentences."""

from __future__ import annotations

import torch
from planted_problems import planted

from fractal_core.evaluation.baselines.attention import Redistributed


def test_attention_conserves_what_it_shares_out():
    """The mean of a response's redistributed logits is its own logit, the attention-weighted mean of the values."""
    problem, _ = planted("avg", responses=8)
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(2, 2, 5, generator=generator), torch.randn(2, generator=generator)]
    logits = Redistributed().logits(parameters, problem.features, problem.segments)
    weights, bias = parameters
    offsets = problem.segments.offsets.tolist()
    for member in range(2):
        for bag, (start, end) in enumerate(zip(offsets, offsets[1:], strict=False)):
            x = problem.features[start:end]
            share = torch.softmax(x @ weights[member, 0], 0)
            response = (share * (x @ weights[member, 1] + bias[member])).sum()
            assert torch.allclose(logits[member, start:end], share * response * (end - start), atol=1e-5)
            assert torch.allclose(problem.segments.mean(logits)[member, bag], response, atol=1e-5)
