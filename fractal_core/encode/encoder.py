"""The frozen sentence encoder: one forward pass gives a text's pooled vector and its token vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from fractal_core.encode.ahead import one_ahead
from fractal_core.encode.linear import pack_linear_layers
from fractal_core.encode.loading import load_model
from fractal_core.encode.packed import PackedReader, can_be_packed
from fractal_core.encode.padded import PaddedReader
from fractal_core.encode.reading import Reading
from fractal_core.encode.tokenising import Tokeniser
from fractal_core.side_by_side import side_by_side

# MiniLM on one core: 256 tokens at once take as long as 4,096, and what is left over of the last matrix is less.
CPU_BATCH_TOKENS = 256
# Of all halves the nearest to float32: cosines of its vectors with the CPU's are above 0.9999.
GPU_NUMBERS = torch.float16

Vectors: TypeAlias = "tuple[list[int], np.ndarray, list[np.ndarray]]"


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
        tokenizer, model = load_model(folder)
        own_limit = getattr(model.config, "max_position_embeddings", None) or max_tokens
        most_tokens = min(max_tokens, own_limit)
        self.tokeniser = Tokeniser(tokenizer, folder, most_tokens)
        self.dimensions = int(model.config.hidden_size)
        self._device = device
        model = model.to(device).eval()
        self._reader: PackedReader | PaddedReader
        if device == "cpu":
            pack_linear_layers(model, CPU_BATCH_TOKENS)
            batch_tokens = CPU_BATCH_TOKENS
        if device == "cpu" and can_be_packed(model):
            self._reader = PackedReader(model, CPU_BATCH_TOKENS)
        else:
            half = GPU_NUMBERS if device == "cuda" else None
            self._reader = PaddedReader(model, tokenizer, device, batch_tokens, most_tokens, half)

    def read(self, texts: Sequence[str], advance: Callable[[int], None] = lambda characters: None) -> list[Reading]:
        """Encode each text once.

        On a CPU the result does not depend on the order or the company of a text, nor on the number of threads, to the
        last bit.

        Args:
            texts: any strings; the empty string is allowed and has no tokens.
            advance: called after each batch with its number of characters.

        Returns:
            One `Reading` a text, in the order of `texts`.
        """
        if not texts:
            return []
        coded = self.tokeniser.code(texts)
        readings: list[Reading | None] = [None] * len(texts)
        for indices, pooled, tokens in self.vectors([text.read for text in coded]):
            for row, index in enumerate(indices):
                text = coded[index]
                readings[index] = Reading(
                    pooled=pooled[row].copy(),
                    tokens=tokens[row][:, text.kept],
                    weights=np.ones(len(text.kept), dtype=np.float32),
                    token_ids=text.token_ids,
                    offsets=text.offsets,
                )
            advance(sum(len(texts[index]) for index in indices))
        return [reading for reading in readings if reading is not None]

    def vectors(self, texts: Sequence[Sequence[int]]) -> Iterator[Vectors]:
        """Encode texts that are token ids already, special tokens included, a batch at a time.

        Yields:
            The places of some of the texts; their pooled vectors, float32 [texts, d]; the token vectors of each,
            float16 [2, tokens, d].
        """
        reader: Any = self._reader

        def read(batch: Any) -> Vectors:
            return batch.indices, *reader.read([texts[index] for index in batch.indices], batch)

        def begin(batch: Any) -> Callable[[], Vectors]:
            finish = reader.begin([texts[index] for index in batch.indices], batch)
            return lambda: (batch.indices, *finish())

        batches: Iterable[Any] = reader.batches([len(ids) for ids in texts])
        yield from side_by_side(read, batches) if self._device == "cpu" else one_ahead(begin, batches)
