"""BERT on a CPU, reading texts laid end to end: no arithmetic is spent on padding, none on masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from fractal_core.encode.packing import Run, Strip, runs, strips


class PackedReader:
    """A BERT whose layers see a strip of texts as rows, and whose attention sees each text by itself."""

    def __init__(self, model: Any, strip_tokens: int) -> None:
        """Take a model that `can_be_packed`, in evaluation mode on the CPU, and the tokens of a strip."""
        self._model = model
        self._strip_tokens = strip_tokens

    def batches(self, lengths: Sequence[int]) -> Iterator[Strip]:
        """Yield what is to be read at once, of texts of these lengths."""
        return strips(lengths, self._strip_tokens)

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[int]], batch: Strip) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return pooled vectors, float32 [texts, d], and each text's token vectors, float16 [2, tokens, d].

        Args:
            texts: token ids of each text of the strip, special tokens included.
            batch: one of `batches`.
        """
        lengths = [len(ids) for ids in texts]
        left = [0] * (batch.tokens - sum(lengths))
        ids = torch.tensor([[*chain.from_iterable(texts), *left]])
        places = torch.tensor([[*chain.from_iterable(map(range, lengths)), *left]])
        neighbours = runs(lengths)
        states: Tensor = self._model.embeddings(input_ids=ids, position_ids=places)[0]
        layers = self._model.encoder.layer
        middle = states
        for number, layer in enumerate(layers, start=1):
            attended = layer.attention.output(_attend(layer.attention.self, states, neighbours), states)
            states = layer.output(layer.intermediate(attended), attended)
            if number == len(layers) // 2:
                middle = states
        parts = torch.split(states[: sum(lengths)], lengths)
        pooled = torch.stack([part.sum(dim=0) / max(len(part), 1) for part in parts])
        tokens = torch.stack([normalize(middle, dim=-1), normalize(states, dim=-1)]).to(torch.float16).numpy()
        ends = np.cumsum(lengths)
        return normalize(pooled, dim=-1).numpy(), [
            tokens[:, end - length : end] for end, length in zip(ends, lengths, strict=True)
        ]


def can_be_packed(model: Any) -> bool:
    """Say whether a transformers model is built as BERT is: each token's place given, attention the only mixing."""
    return bool(model.config.model_type == "bert" and not model.config.is_decoder)


def _attend(attention: Any, states: Tensor, neighbours: Sequence[Run]) -> Tensor:
    """Let each text attend to itself: [tokens, d] to [tokens, d], 0 for tokens of no text."""
    shape = (len(states), attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (linear(states).view(shape) for linear in (attention.query, attention.key, attention.value))
    attended = torch.zeros_like(query)
    for start, texts, length in neighbours:
        chosen = slice(start, start + texts * length)
        heads = [each[chosen].view(texts, length, *shape[1:]).transpose(1, 2) for each in (query, key, value)]
        attended[chosen] = scaled_dot_product_attention(*heads).transpose(1, 2).reshape(-1, *shape[1:])
    return attended.flatten(1)
