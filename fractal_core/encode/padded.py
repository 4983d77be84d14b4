"""Texts read as rows of a matrix that are filled up to one width: any encoder can do that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fractal_core.encode.batching import FixedBatch, fixed_batches


class PaddedReader:
    """A transformers encoder that reads matrices of texts, padding behind each."""

    def __init__(self, model: Any, tokenizer: Any, device: str, batch_tokens: int, most_tokens: int) -> None:
        """Take a model in evaluation mode.

        Args:
            model: on `device`.
            tokenizer: pads.
            device: "cpu" or "cuda".
            batch_tokens: about the tokens of a matrix.
            most_tokens: longest text that the model takes.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._batch_tokens = batch_tokens
        self._most_tokens = most_tokens

    def batches(self, lengths: Sequence[int]) -> Iterator[FixedBatch]:
        """Yield what is to be read at once, of texts of these lengths."""
        return fixed_batches(lengths, self._batch_tokens, self._most_tokens)

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[int]], batch: FixedBatch) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return pooled vectors, float32 [texts, d], and each text's token vectors, float16 [2, tokens, d].

        Args:
            texts: token ids of each text of the batch, special tokens included.
            batch: one of `batches`.
        """
        # Rows that are left over read the first text once more.
        rows = [list(ids) for ids in (*texts, *[texts[0]] * (batch.rows - len(texts)))]
        padded = self._tokenizer.pad(
            {"input_ids": rows},
            padding="max_length",
            max_length=batch.width,
            padding_side="right",
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._device)
        output = self._model(**padded, output_hidden_states=True)
        last = output.last_hidden_state.float()
        middle = output.hidden_states[(len(output.hidden_states) - 1) // 2].float()
        mask = padded["attention_mask"].unsqueeze(-1).to(last.dtype)
        pooled = (last * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        normalise = torch.nn.functional.normalize
        tokens = torch.stack([normalise(middle, dim=-1), normalise(last, dim=-1)]).to(torch.float16).cpu().numpy()
        vectors = normalise(pooled, dim=-1).cpu().numpy()[: len(texts)]
        return vectors, [tokens[:, row, : len(ids)] for row, ids in enumerate(texts)]
