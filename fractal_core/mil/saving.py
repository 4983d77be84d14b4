"""Trained ensembles as safetensors: members, standardisation and metadata. Nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from fractal_core.mil.ensemble import Component
from fractal_core.mil.scorers.comparison import Comparison
from fractal_core.mil.sentences import Fit
from fractal_core.mil.task import Task
from fractal_core.priors.evidence_prior import EvidenceStandardiser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

# Of a student of real values, in its metadata: how far values are from their means, as shares of the range.
NOISE = "noise"
# The files of stages train and pseudolabel.
SCORER, HEADS, GIVEN, STUDENT = (f"{name}.safetensors" for name in ("scorer", "heads", "given", "student"))


@dataclass(frozen=True, eq=False)
class SavedEnsemble:
    """An ensemble with all it needs to be applied, but for encoders that were trained and what they say.

    Attributes:
        components: its calibrated members.
        task: what it learned.
        fit: how it reads sentences.
        metadata: anything else a reader wants to know, fit for JSON.
    """

    components: list[Component]
    task: Task
    fit: Fit
    metadata: dict[str, Any]


def save_ensemble(saved: SavedEnsemble, path: Path) -> None:
    """Write an ensemble; the same one always gives the same bytes. What encoders say of sentences is left out."""
    tensors: dict[str, Tensor] = _named("standardiser", saved.fit.standardiser.arrays())
    if saved.fit.comparison is not None:
        tensors |= _named("comparison", vars(saved.fit.comparison))
    if saved.fit.hybrid is not None:
        tensors["hybrid"] = torch.from_numpy(saved.fit.hybrid)
    about = []
    for number, component in enumerate(saved.components):
        tensors |= _of_component(number, component)
        about.append({name: getattr(component, name) for name in ("name", "scorer", "family", "share")})
    scales = {family: list(scale) for family, scale in saved.fit.scales.items()}
    own = {"components": about, "prior_scales": scales, "span": list(saved.fit.span)}
    _write(path, tensors, {**saved.metadata, **asdict(saved.task), **own})


def load_ensemble(path: Path) -> SavedEnsemble:
    """Read what `save_ensemble` wrote."""
    tensors, metadata = _read(path)
    components = [
        Component(**about, parameters=_under(f"component{number}", tensors))
        for number, about in enumerate(metadata.pop("components"))
    ]
    task = Task(**{name: metadata.pop(name) for name in Task.__dataclass_fields__})
    comparison = {name: tensor.numpy() for name, tensor in _under("comparison", tensors).items()}
    standardiser = {name: tensor.numpy() for name, tensor in _under("standardiser", tensors).items()}
    low, high = metadata.pop("span")
    fit = Fit(
        standardiser=EvidenceStandardiser.from_arrays(standardiser),
        comparison=Comparison(**comparison) if comparison else None,
        scales={family: (mean, scale) for family, (mean, scale) in metadata.pop("prior_scales").items()},
        hybrid=tensors["hybrid"].numpy() if "hybrid" in tensors else None,
        span=(low, high),
    )
    return SavedEnsemble(components, task, fit, metadata)


def save_heads(heads: Sequence[tuple[Task, Component]], path: Path) -> None:
    """Write heads as they came out of training, before they were calibrated, each with what it learned."""
    tensors: dict[str, Tensor] = {}
    about = []
    for number, (task, head) in enumerate(heads):
        tensors |= _of_component(number, head)
        about.append({"scorer": head.scorer, "family": head.family, "task": asdict(task)})
    _write(path, tensors, {"heads": about})


def load_heads(path: Path) -> dict[Task, Component]:
    """Read what `save_heads` wrote, by what was learned."""
    tensors, metadata = _read(path)
    heads = {}
    for number, about in enumerate(metadata["heads"]):
        task = Task(**about["task"])
        parameters = _under(f"component{number}", tensors)
        heads[task] = Component(task.pooling, about["scorer"], about["family"], parameters)
    return heads


def save_given(given: Tensor | None, path: Path) -> None:
    """Write what fine-tuned encoders say of every sentence, float32 [K, N], or that there are none."""
    _write(path, {} if given is None else {"logits": given}, {})


def load_given(path: Path) -> Tensor | None:
    """Read what `save_given` wrote."""
    return _read(path)[0].get("logits")


def _of_component(number: int, component: Component) -> dict[str, Tensor]:
    return {f"component{number}.{name}": value for name, value in component.parameters.items()}


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(contiguous, metadata={"fractal": json.dumps(metadata, sort_keys=True)}))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is no mapping
        return tensors, json.loads(file.metadata()["fractal"])


def _named(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": torch.from_numpy(array) for name, array in arrays.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
