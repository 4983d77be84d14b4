"""Texts to tokens: their ids, and where in the text each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fractal_core.errors import InputError


@dataclass(frozen=True)
class Coded:
    """The tokens of one text.

    Attributes:
        read: ids as a transformer reads them, special tokens included.
        kept: int64 [tokens], places in `read` of those that are no special tokens.
        token_ids: int32 [tokens], their ids.
        offsets: int32 [tokens, 2], [start, end) of each in the text.
    """

    read: list[int]
    kept: np.ndarray
    token_ids: np.ndarray
    offsets: np.ndarray


class Tokeniser:
    """The tokenizer of a transformers encoder."""

    def __init__(self, tokenizer: Any, folder: Path, most_tokens: int) -> None:
        """Take a tokenizer.

        Args:
            tokenizer: of transformers.
            folder: where it came from.
            most_tokens: longer texts are cut here, special tokens included.

        Raises:
            InputError: if it gives no character offsets.
        """
        if not tokenizer.is_fast:
            raise InputError(f"The tokenizer in {folder} gives no character offsets; add a tokenizer.json to it.")
        # What transformers makes of this library's answer, lists in dictionaries, takes longer than the answer.
        self._tokenizer: Any = tokenizer.backend_tokenizer
        self._tokenizer.no_padding()
        self._most_tokens = most_tokens

    @property
    def vocabulary(self) -> dict[str, int]:
        """The pieces and their ids."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def piece_ids(self, words: Sequence[str]) -> list[list[int]]:
        """Return the ids of the pieces of each word as it would be read inside a text."""
        self._tokenizer.no_truncation()
        found = self._tokenizer.encode_batch_fast([f" {word}" for word in words], add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def code(self, texts: Sequence[str]) -> list[Coded]:
        """Return the tokens of each text."""
        self._tokenizer.enable_truncation(self._most_tokens)
        return [_coded(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def alone(self, token_ids: Sequence[int]) -> tuple[list[list[int]], int]:
        """Return each token as a text by itself, special tokens around it, and its place there."""
        (some,) = self.code(["a"])
        place = int(some.kept[0])
        after = some.read[int(some.kept[-1]) + 1 :]
        return [[*some.read[:place], index, *after] for index in token_ids], place


def _coded(encoding: Any) -> Coded:
    kept = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    ids = encoding.ids
    return Coded(
        read=ids,
        kept=kept,
        token_ids=np.array(ids, dtype=np.int32)[kept],
        offsets=np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)[kept],
    )
