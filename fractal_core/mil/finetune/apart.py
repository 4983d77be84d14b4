"""Training the encoder in several processes that hold the same weights and share the batches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.examples import TextBags
from fractal_core.mil.finetune.saving import load_finetuned, save_finetuned
from fractal_core.mil.finetune.settings import FineTuneSettings
from fractal_core.mil.finetune.team import Ranks
from fractal_core.mil.finetune.training import FineTuned, fine_tune
from fractal_core.mil.segments import Segments
from fractal_core.mil.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from fractal_core.engine import Advance, Do, Parcel
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.finetune.settings import BagLoss
    from fractal_core.store.stage import Runtime

# A step has about this many batches; more processes would wait.
MOST_RANKS = 8


def bag_loss(task: Task, labels: Tensor, segments: Segments) -> BagLoss:
    """Return the bag loss of a task as `fine_tune` takes it.

    Args:
        task: what to learn.
        labels: of B responses.
        segments: the B responses.
    """

    def loss(logits: Tensor, responses: Tensor) -> Tensor:
        part = segments.select(responses)[1]
        return task.losses(logits, logits.new_zeros(1, task.extras), labels[responses], part)

    return loss


def fine_tune_apart(
    encoder: tuple[Path, int],
    bags: TextBags,
    task: Task,
    labels: Tensor,
    settings: FineTuneSettings,
    earlier: Sequence[Member],
    runtime: Runtime,
    folder: Path,
    advance: Advance,
) -> FineTuned:
    """Do what `fine_tune` does in the processes of an engine: the same bytes as in one process with one thread.

    Args:
        encoder: its folder, and the most tokens of a text.
        bags: as of `fine_tune`.
        task: with `labels`, what the loss is.
        labels: of the responses.
        settings: as of `fine_tune`.
        earlier: as of `fine_tune`.
        runtime: with the engine.
        folder: for what the processes read and write; it must not be there yet.
        advance: told of steps.
    """
    folder = folder.resolve()
    folder.mkdir()
    before, after = folder / "earlier.safetensors", folder / "members.safetensors"
    if earlier:
        save_finetuned(earlier, before, {})
    common = {
        "encoder": str(encoder[0]),
        "max_tokens": encoder[1],
        "texts": pa.table({"text": pa.array(bags.texts, pa.string())}),
        "sentence": bags.sentence.numpy(),
        **{f"partner-{name}": partner.numpy() for name, partner in bags.partners.items()},
        "partners": list(bags.partners),
        "offsets": bags.segments.offsets.numpy(),
        "fold": bags.fold.numpy(),
        "dev": bags.dev.numpy(),
        "members": bags.members,
        "labels": labels.numpy(),
        "task": asdict(task),
        "settings": asdict(settings),
        "earlier": str(before) if earlier else "",
        "result": str(after),
    }
    made = runtime.engine.together(runtime, fine_tuning, common, folder / "train", MOST_RANKS, advance)
    return FineTuned(torch.from_numpy(np.array(made["logits"])), load_finetuned(after)[0])


def fine_tuning(common: Parcel, runtime: Runtime) -> Do:
    """Return what trains as one of several: rank 0 writes the members to `result` and returns `logits`."""
    encoder = TrainableEncoder(Path(common["encoder"]), runtime.device, common["max_tokens"])
    bags = TextBags(
        texts=common["texts"].column("text").to_pylist(),
        sentence=_tensor(common["sentence"]),
        partners={name: _tensor(common[f"partner-{name}"]) for name in common["partners"]},
        segments=Segments(_tensor(common["offsets"])),
        fold=_tensor(common["fold"]),
        dev=_tensor(common["dev"]),
        members=common["members"],
    )
    loss = bag_loss(Task(**common["task"]), _tensor(common["labels"]), bags.segments)
    settings = FineTuneSettings(**common["settings"])
    earlier = load_finetuned(Path(common["earlier"]))[0] if common["earlier"] else []

    def train(shard: Parcel, advance: Callable[[int], None]) -> Parcel:
        if shard["world"] > 1:
            encoder.team = Ranks(encoder.device)
        tuned = fine_tune(encoder, bags, loss, settings, advance, earlier)
        if shard["rank"]:
            return {}
        save_finetuned(tuned.members, Path(common["result"]), {})
        return {"logits": tuned.logits.numpy()}

    return train


def _tensor(values: Any) -> Tensor:
    """Return what may be mapped from a file as a tensor that may be written to."""
    return torch.from_numpy(np.array(values))
