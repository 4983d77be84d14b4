"""What `benchmarks.encoding` times, one encoder a process: reads texts from a file, says in JSON how long it took.

    python -m benchmarks.encoding_worker ours|theirs|static TEXTS.json [--batch 32] [--vectors OUT.npy]

Loading and a few texts to warm up are not timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from fractal_core.encode.distilling import distil
from fractal_core.encode.embedding import SHARD_CHARACTERS
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.models import default_model_folder
from fractal_core.encode.reading import TextEncoder
from fractal_core.encode.static import StaticEncoder
from fractal_core.encode.uncollected import uncollected
from fractal_core.evidence.rarity import Rarity

MOST_TOKENS = 256
_WARM_UP = 64
Encode = Callable[[list[str]], np.ndarray]


def pooled(encoder: TextEncoder) -> Encode:
    """Return a function that reads texts as stage embed does, shard by shard, and keeps pooled vectors alone."""

    def encode(texts: list[str]) -> np.ndarray:
        with uncollected():
            return np.stack([r.pooled for shard in _shards(texts) for r in encoder.read(shard, lambda n: None)])

    return encode


def ours() -> Encode:
    """Return our transformer, which gives token vectors of two layers beside the pooled vectors."""
    return pooled(Encoder(default_model_folder(), MOST_TOKENS))


def theirs(batch: int) -> Encode:
    """Return sentence-transformers with the same weights."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(default_model_folder()), device="cpu", local_files_only=True)
    model.max_seq_length = MOST_TOKENS
    return lambda texts: np.asarray(model.encode(texts, batch_size=batch, normalize_embeddings=True))


def static() -> tuple[Encode, float]:
    """Return the static encoder, and the seconds in which it was made from the transformer."""
    encoder = Encoder(default_model_folder(), MOST_TOKENS)
    started = time.perf_counter()
    vectors = distil(encoder)
    seconds = time.perf_counter() - started
    tokeniser = encoder.tokeniser
    rarity = Rarity(tokeniser.vocabulary, tokeniser.piece_ids)
    return pooled(StaticEncoder(tokeniser, vectors, rarity.token_weights)), seconds


def _shards(texts: list[str]) -> Iterator[list[str]]:
    shard, size = [], 0
    for text in texts:
        shard.append(text)
        size += len(text)
        if size > SHARD_CHARACTERS:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def main() -> None:
    """Encode and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("encoder", choices=("ours", "theirs", "static"))
    parser.add_argument("texts", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--vectors", type=Path)
    arguments = parser.parse_args()
    texts = json.loads(arguments.texts.read_text(encoding="utf-8"))
    made = 0.0
    if arguments.encoder == "static":
        encode, made = static()
    else:
        encode = ours() if arguments.encoder == "ours" else theirs(arguments.batch)
    encode(texts[:_WARM_UP])
    started = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - started
    if arguments.vectors:
        np.save(arguments.vectors, vectors)
    json.dump({"seconds": seconds, "made": made, "threads": torch.get_num_threads()}, sys.stdout)


if __name__ == "__main__":
    main()
