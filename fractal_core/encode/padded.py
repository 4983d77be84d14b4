"""Texts read as rows of a matrix that are filled up to one width: any encoder can do that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fractal_core.encode.ahead import fetched, sent
from fractal_core.encode.batching import FixedBatch, fixed_batches

Read: TypeAlias = "tuple[np.ndarray, list[np.ndarray]]"


class PaddedReader:
    """A transformers encoder that reads matrices of texts, padding behind each."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        device: str,
        batch_tokens: int,
        most_tokens: int,
        half: torch.dtype | None = None,
    ) -> None:
        """Take a model in evaluation mode.

        Args:
            model: float32, on `device`.
            tokenizer: pads.
            device: "cpu" or "cuda".
            batch_tokens: about the tokens of a matrix.
            most_tokens: longest text that the model takes.
            half: in what numbers to multiply matrices, None for float32. A batch whose numbers are too large for it
                is read again in float32.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._batch_tokens = batch_tokens
        self._most_tokens = most_tokens
        self._half = half

    def batches(self, lengths: Sequence[int]) -> Iterator[FixedBatch]:
        """Yield what is to be read at once, of texts of these lengths."""
        return fixed_batches(lengths, self._batch_tokens, self._most_tokens)

    def read(self, texts: Sequence[Sequence[int]], batch: FixedBatch) -> Read:
        """Return pooled vectors, float32 [texts, d], and each text's token vectors, float16 [2, tokens, d].

        Args:
            texts: token ids of each text of the batch, special tokens included.
            batch: one of `batches`.
        """
        return self.begin(texts, batch)()

    def begin(self, texts: Sequence[Sequence[int]], batch: FixedBatch) -> Callable[[], Read]:
        """Start to read, which a GPU does while the CPU goes on; what is returned waits, and gives what `read` does."""
        # Rows that are left over read the first text once more.
        rows = [list(ids) for ids in (*texts, *[texts[0]] * (batch.rows - len(texts)))]
        padded = self._tokenizer.pad(
            {"input_ids": rows},
            padding="max_length",
            max_length=batch.width,
            padding_side="right",
            return_attention_mask=True,
            return_tensors="pt",
        )
        there = {name: sent(tensor, self._device) for name, tensor in padded.items()}
        pooled, tokens = (fetched(each) for each in self._vectors(there, self._half))

        def finish() -> Read:
            vectors, of_tokens = pooled(), tokens()
            if self._half is not None and not np.isfinite(vectors).all():
                vectors, of_tokens = (fetched(each)() for each in self._vectors(there, None))
            return vectors[: len(texts)], [of_tokens[:, row, : len(ids)] for row, ids in enumerate(texts)]

        return finish

    @torch.inference_mode()
    def _vectors(self, padded: dict[str, Tensor], half: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """Return pooled vectors, float32 [rows, d], and token vectors, float16 [2, rows, width, d], on the device."""
        with nullcontext() if half is None else torch.autocast(self._device, half):
            output = self._model(**padded, output_hidden_states=True)
        last = output.last_hidden_state.float()
        middle = output.hidden_states[(len(output.hidden_states) - 1) // 2].float()
        mask = padded["attention_mask"].unsqueeze(-1).to(last.dtype)
        pooled = (last * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return normalize(pooled, dim=-1), torch.stack([normalize(middle, dim=-1), normalize(last, dim=-1)]).half()
