"""Fine-tuned models as one safetensors file; nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import save_file

from fractal_core.mil.finetune.member import Member

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# The file of stage train.
ENCODERS = "finetuned.safetensors"
_HEAD, _ENCODER = "head.", "encoder."


def save_finetuned(members: Sequence[Member], path: Path, metadata: dict[str, Any]) -> None:
    """Write models, float32, under the keys fold{k}.head.{name} and fold{k}.encoder.{name}.

    A fold that kept the untrained encoder has no key of the second kind, and no fold has the word embeddings, which
    are not trained: the folder of the encoder is needed to use the file.

    Args:
        members: one a fold.
        path: file to write.
        metadata: anything JSON can hold that a reader has to know, the mode first of all.
    """
    tensors: dict[str, Tensor] = {}
    for fold, member in enumerate(members):
        named = {f"{_HEAD}{name}": value for name, value in member.head.items()}
        named |= {f"{_ENCODER}{name}": value for name, value in (member.encoder or {}).items()}
        tensors |= {f"fold{fold}.{name}": value.detach().cpu().contiguous() for name, value in named.items()}
    about = [{"family": m.family, "epochs": m.epochs, "history": m.history} for m in members]
    text = json.dumps({"members": about, "metadata": metadata}, sort_keys=True)
    save_file(tensors, path, metadata={"fractal": text})


def load_finetuned(path: Path) -> tuple[list[Member], dict[str, Any]]:
    """Read what `save_finetuned` wrote: the models and the metadata."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is no mapping
        written = json.loads(file.metadata()["fractal"])
    members = []
    for fold, about in enumerate(written["members"]):
        head, encoder = (
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            for prefix in (f"fold{fold}.{_HEAD}", f"fold{fold}.{_ENCODER}")
        )
        history = [(float(epochs), float(loss)) for epochs, loss in about["history"]]
        members.append(Member(about["family"], head, encoder or None, about["epochs"], history))
    return members, written["metadata"]
