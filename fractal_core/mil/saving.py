"""A trained scorer as safetensors: members, standardisation and metadata. Nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from fractal_core.mil.linear import LinearScorer
from fractal_core.priors.evidence_prior import EvidenceStandardiser

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class SavedScorer:
    """A scorer with all it needs to be applied to evidence.

    Attributes:
        scorer: the members, one a fold.
        standardiser: of the evidence features.
        prior_mean: mean of the evidence prior over train sentences.
        prior_scale: its standard deviation.
        metadata: feature names, aggregation, penalty, epoch and held-out loss.
    """

    scorer: LinearScorer
    standardiser: EvidenceStandardiser
    prior_mean: float
    prior_scale: float
    metadata: dict[str, Any]


def save_scorer(saved: SavedScorer, path: Path) -> None:
    """Write a scorer; the same scorer always gives the same bytes."""
    tensors = {
        "weights": saved.scorer.weights,
        "bias": saved.scorer.bias,
        "offset": saved.scorer.offset,
        "prior": torch.tensor([saved.prior_mean, saved.prior_scale], dtype=torch.float64),
        **{f"standardiser.{name}": torch.from_numpy(array) for name, array in saved.standardiser.arrays().items()},
    }
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(contiguous, metadata={"fractal": json.dumps(saved.metadata, sort_keys=True)}))


def load_scorer(path: Path) -> SavedScorer:
    """Read what `save_scorer` wrote."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is no mapping
        metadata = json.loads(file.metadata()["fractal"])
    prefix = "standardiser."
    arrays = {name.removeprefix(prefix): t.numpy() for name, t in tensors.items() if name.startswith(prefix)}
    return SavedScorer(
        scorer=LinearScorer(tensors["weights"], tensors["bias"], tensors["offset"]),
        standardiser=EvidenceStandardiser.from_arrays(arrays),
        prior_mean=float(tensors["prior"][0]),
        prior_scale=float(tensors["prior"][1]),
        metadata=metadata,
    )
