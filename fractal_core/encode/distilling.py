"""A static encoder made from a transformer: one fixed vector a token and layer, no matter what stands beside it.

Each token of the vocabulary is read by itself, as Tulkens and van Dongen 2024 (Model2Vec) do; its vectors are centred
and turned to their principal components.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from fractal_core.encode.encoder import Encoder
from fractal_core.threads import one_thread

MOST_DIMENSIONS = 256
_NAME = "tokens"


def distil(encoder: Encoder, advance: Callable[[int], None] = lambda tokens: None) -> np.ndarray:
    """Return the static vectors of every token id.

    Args:
        encoder: reads each token once, between special tokens.
        advance: called with the number of tokens that have been read.

    Returns:
        float16 [2, vocabulary, min(256, dimensions)], of length 1, of the middle and the last layer; 0 for an id that
        the vocabulary leaves out.
    """
    ids = sorted(encoder.tokeniser.vocabulary.values())
    texts, place = encoder.tokeniser.alone(ids)
    read = np.zeros((2, len(ids), encoder.dimensions), dtype=np.float16)
    for rows, _, tokens in encoder.vectors(texts):
        for row, vectors in zip(rows, tokens, strict=True):
            read[:, row] = vectors[:, place]
        advance(len(rows))
    components = np.stack([_components(torch.from_numpy(layer)) for layer in read])
    found = np.zeros((2, ids[-1] + 1, components.shape[2]), dtype=np.float16)
    found[:, ids] = components
    return found


def save_static(vectors: np.ndarray | None, path: Path) -> None:
    """Write static vectors; an empty file if there are none."""
    save_file({} if vectors is None else {_NAME: vectors}, path)


def load_static(path: Path) -> np.ndarray:
    """Return what `save_static` wrote."""
    return load_file(path)[_NAME]


@torch.inference_mode()
def _components(vectors: Tensor) -> np.ndarray:
    """Centre vectors, turn them to their first principal components and scale them to length 1: float16."""
    with one_thread():
        centred = vectors.double()
        centred -= centred.mean(dim=0)
        _, directions = torch.linalg.eigh(centred.T @ centred)
        chosen = directions.flip(1)[:, :MOST_DIMENSIONS]
        # The sign of a direction is anyone's choice: its largest entry shall be positive.
        chosen = chosen * chosen.gather(0, chosen.abs().argmax(dim=0, keepdim=True)).sign()
        return torch.nn.functional.normalize(centred @ chosen, dim=1).to(torch.float16).numpy()
