"""An encoder that can be trained: texts or pairs of texts to vectors, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fractal_core.encode.batching import length_sorted_batches
from fractal_core.encode.loading import load_model
from fractal_core.mil.finetune.team import Alone, Team

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Padding wastes less in several batches than in one of all the tokens that may be held.
_BATCHES_HELD = 4


class Units:
    """Tokenised units, each a text or a pair of texts that is read at once."""

    def __init__(self, coded: dict[str, list[list[int]]]) -> None:
        """Take the tokenizer's lists, one entry a unit."""
        self.coded = coded
        self.lengths = [len(ids) for ids in coded["input_ids"]]

    def __len__(self) -> int:
        return len(self.lengths)


class TrainableEncoder:
    """A transformers encoder and its tokenizer. It has no dropout: reading a unit twice gives the same vector.

    Attributes:
        team: the processes that read batches; this one alone, unless it is set.
    """

    def __init__(self, folder: Path, device: str = "auto", max_tokens: int = 256, batch_tokens: int = 8192) -> None:
        """Load the model from a local folder, in float32; nothing is unpickled and no code of its is run.

        Args:
            folder: transformers folder with safetensors weights (fractal_core.encode.models names its files).
            device: "cpu", "cuda", or "auto" for a GPU if there is one. A GPU computes in bfloat16.
            max_tokens: longer texts are cut here, special tokens included; a pair of texts may have twice as many.
            batch_tokens: padded tokens whose activations are held at once in training, and four times what is read at
                once.

        Raises:
            InputError: if transformers cannot load the folder.
        """
        self.folder = folder
        self._tokenizer, model = load_model(folder)
        cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda" if cuda else "cpu")
        self.model: Any = model.to(self.device).eval()
        # Half of a small encoder's weights; in few steps few of their rows are met at all.
        self.model.get_input_embeddings().requires_grad_(False)
        self._limit = getattr(model.config, "max_position_embeddings", None) or 2 * max_tokens
        self._max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        self.team: Team = Alone()
        self._start = self.state()

    @property
    def dimensions(self) -> int:
        """Width of a vector."""
        return int(self.model.config.hidden_size)

    def trained(self) -> list[torch.nn.Parameter]:
        """Return the parameters to be trained."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def state(self) -> dict[str, Tensor]:
        """Return a copy, on the CPU, of what is trained."""
        return {n: p.detach().to("cpu", copy=True) for n, p in self.model.named_parameters() if p.requires_grad}

    def load(self, state: dict[str, Tensor] | None) -> None:
        """Take the weights of a `state`; the untrained ones if there is none or where it has none."""
        self.model.load_state_dict({**self._start, **(state or {})}, strict=False)

    def texts(self, texts: Sequence[str]) -> Units:
        """Tokenise texts."""
        return self._units(list(texts), None, min(self._max_tokens, self._limit))

    def pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> Units:
        """Tokenise pairs of texts; the longer one of a pair is cut first."""
        return self._units(list(firsts), list(seconds), min(2 * self._max_tokens, self._limit))

    def _units(self, firsts: list[str], seconds: list[str] | None, limit: int) -> Units:
        if not firsts:
            return Units({"input_ids": []})
        coded = self._tokenizer(firsts, seconds, truncation="longest_first", max_length=limit)
        return Units({name: coded[name] for name in _INPUTS if name in coded})

    def batches(self, units: Units, chosen: Tensor) -> list[Tensor]:
        """Cut chosen units (int64 [u]) into batches of like length: places among the chosen, each once."""
        lengths = [units.lengths[index] for index in chosen.tolist()]
        return [torch.tensor(b) for b in length_sorted_batches(lengths, max(1, self.batch_tokens // _BATCHES_HELD))]

    def padded_tokens(self, units: Units, chosen: Tensor, batches: Iterable[Tensor]) -> int:
        """Return the tokens of all the batches, padding included."""
        return sum(max(units.lengths[index] for index in chosen[batch].tolist()) * len(batch) for batch in batches)

    def vectors(self, units: Units, chosen: Tensor) -> Tensor:
        """Return the vectors of chosen units, read in one batch: float32 [u, D] of length 1, mean over tokens."""
        rows = {name: [values[index] for index in chosen.tolist()] for name, values in units.coded.items()}
        padded = self._tokenizer.pad(rows, padding=True, padding_side="right", return_tensors="pt").to(self.device)
        on_gpu = self.device.type == "cuda"
        with torch.autocast("cuda", dtype=torch.bfloat16) if on_gpu else nullcontext():
            last = self.model(**padded).last_hidden_state
        mask = padded["attention_mask"].unsqueeze(-1).float()
        pooled = (last.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def read(self, units: Units, chosen: Tensor, batches: Iterable[Tensor] | None = None) -> Tensor:
        """Return the vectors of chosen units, read batch by batch, in the order of `chosen`: float32 [u, D]."""
        places = self.batches(units, chosen) if batches is None else list(batches)

        def read(batch: Tensor) -> Tensor:
            return self.vectors(units, chosen[batch])

        # Activations stay in the process that will need them.
        alone = torch.is_grad_enabled()
        found = [read(batch) for batch in places] if alone else self.team.share(places, read, self.dimensions)
        if not found:
            return torch.zeros(0, self.dimensions, device=self.device)
        return torch.cat(found)[torch.cat(places).argsort().to(self.device)]
