"""The frozen sentence encoder: one forward pass gives a text's pooled vector and its token vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fractal_core.encode.batching import FixedBatch, fixed_batches
from fractal_core.encode.loading import load_model
from fractal_core.encode.reading import Reading
from fractal_core.errors import InputError

# MiniLM on one core: 256 tokens at once take as long as 4,096, and the last matrix of a width is filled sooner.
CPU_BATCH_TOKENS = 256


class Encoder:
    """A transformers model and its tokenizer, read from a local folder; never trained, never downloaded."""

    def __init__(self, folder: Path, max_tokens: int, device: str = "cpu", batch_tokens: int = 4096) -> None:
        """Load the model.

        Args:
            folder: transformers folder with safetensors weights; nothing is unpickled and no code of its is run.
            max_tokens: longer texts are cut here, special tokens included (and at the model's own limit).
            device: "cpu" or "cuda".
            batch_tokens: tokens read at once on a GPU, padding included; a CPU is as fast with few.

        Raises:
            InputError: if transformers cannot load the folder or its tokenizer gives no offsets.
        """
        self._tokenizer, model = load_model(folder)
        if not self._tokenizer.is_fast:
            raise InputError(f"The tokenizer in {folder} gives no character offsets; add a tokenizer.json to it.")
        self._model: Any = model.to(device).eval()
        self._device = device
        self._batch_tokens = CPU_BATCH_TOKENS if device == "cpu" else batch_tokens
        own_limit = getattr(model.config, "max_position_embeddings", None) or max_tokens
        self._max_tokens = min(max_tokens, own_limit)

    @property
    def dimensions(self) -> int:
        """Width of every vector."""
        return int(self._model.config.hidden_size)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The tokenizer's pieces and their ids."""
        return dict(self._tokenizer.get_vocab())

    def piece_ids(self, words: Sequence[str]) -> list[list[int]]:
        """Return the ids of the pieces of each word as it would be read inside a text."""
        if not words:
            return []
        ids: list[list[int]] = self._tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
        return ids

    def read(self, texts: Sequence[str], advance: Callable[[int], None] = lambda characters: None) -> list[Reading]:
        """Encode each text once, in batches of fixed shapes.

        On a CPU the result does not depend on the order or the company of a text, to the last bit.

        Args:
            texts: any strings; the empty string is allowed and has no tokens.
            advance: called after each batch with its number of characters.

        Returns:
            One `Reading` a text, in the order of `texts`.
        """
        if not texts:
            return []
        coded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        readings: list[Reading | None] = [None] * len(texts)
        lengths = [len(ids) for ids in coded["input_ids"]]
        for batch in fixed_batches(lengths, self._batch_tokens, self._max_tokens):
            pooled, tokens = self._forward(coded, batch)
            for row, index in enumerate(batch.indices):
                kept = np.flatnonzero(np.asarray(coded["special_tokens_mask"][index]) == 0)
                readings[index] = Reading(
                    pooled=pooled[row].copy(),
                    tokens=tokens[:, row, kept],
                    token_ids=np.asarray(coded["input_ids"][index], dtype=np.int32)[kept],
                    offsets=np.asarray(coded["offset_mapping"][index], dtype=np.int32).reshape(-1, 2)[kept],
                )
            advance(sum(len(texts[index]) for index in batch.indices))
        return [reading for reading in readings if reading is not None]

    @torch.inference_mode()
    def _forward(self, coded: Any, batch: FixedBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return pooled float32 [rows, d] and token float16 [2, rows, width, d] vectors."""
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in coded]
        # Rows that are left over read the first text once more.
        indices = batch.indices + batch.indices[:1] * (batch.rows - len(batch.indices))
        rows = {name: [coded[name][index] for index in indices] for name in names}
        padded = self._tokenizer.pad(
            rows, padding="max_length", max_length=batch.width, padding_side="right", return_tensors="pt"
        ).to(self._device)
        output = self._model(**padded, output_hidden_states=True)
        last = output.last_hidden_state.float()
        middle = output.hidden_states[(len(output.hidden_states) - 1) // 2].float()
        mask = padded["attention_mask"].unsqueeze(-1).to(last.dtype)
        pooled = (last * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        normalise = torch.nn.functional.normalize
        tokens = torch.stack([normalise(middle, dim=-1), normalise(last, dim=-1)]).to(torch.float16)
        return normalise(pooled, dim=-1).cpu().numpy(), tokens.cpu().numpy()
