"""Which encoder a run reads with: the transformer itself, or static vectors made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fractal_core.encode.distilling import distil, load_static
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.loading import load_tokenizer
from fractal_core.encode.static import StaticEncoder
from fractal_core.encode.tokenising import Tokeniser
from fractal_core.evidence.rarity import Rarity

if TYPE_CHECKING:
    from fractal_core.encode.reading import TextEncoder
    from fractal_core.stage_params import EmbedParams
    from fractal_core.store.stage import Runtime

STATIC_FILE = "static.safetensors"


class Opened(NamedTuple):
    """An encoder, how rare the tokens of its vocabulary are, and the vectors of a static one [tokens, dimensions]."""

    encoder: TextEncoder
    rarity: Rarity
    static: np.ndarray | None


def open_encoder(folder: Path, params: EmbedParams, made: Path | None, runtime: Runtime) -> Opened:
    """Open the encoder of a run.

    Args:
        folder: of the transformers model.
        params: `kind` and `max_tokens`.
        made: the file of static vectors that an earlier result of the same encoder has; None to make them.
        runtime: device, tokens a batch, progress.

    Raises:
        InputError: if transformers cannot load the folder or its tokenizer gives no offsets.
    """
    if params.kind == "transformer":
        encoder = _transformer(folder, params, runtime)
        return Opened(encoder, _rarity(encoder.tokeniser), None)
    tokeniser = Tokeniser(load_tokenizer(folder), folder, params.max_tokens)
    vectors = _distilled(folder, params, runtime) if made is None else load_static(made)
    rarity = _rarity(tokeniser)
    return Opened(StaticEncoder(tokeniser, vectors, rarity.token_weights), rarity, vectors)


def _transformer(folder: Path, params: EmbedParams, runtime: Runtime) -> Encoder:
    return Encoder(folder, params.max_tokens, runtime.device, runtime.batch_tokens)


def _distilled(folder: Path, params: EmbedParams, runtime: Runtime) -> np.ndarray:
    encoder = _transformer(folder, params, runtime)
    with runtime.progress("distil", len(encoder.tokeniser.vocabulary)) as progress:
        return distil(encoder, progress.advance)


def _rarity(tokeniser: Tokeniser) -> Rarity:
    return Rarity(tokeniser.vocabulary, tokeniser.piece_ids)
