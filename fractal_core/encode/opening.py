"""Which encoder a run reads with: the transformer itself, or static vectors made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.encode.distilling import distil, load_static, save_static
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.loading import load_tokenizer
from fractal_core.encode.static import StaticEncoder
from fractal_core.encode.tokenising import Tokeniser
from fractal_core.evidence.rarity import Rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.encode.reading import TextEncoder
    from fractal_core.stage_params import EmbedParams
    from fractal_core.store.stage import EarlierResult, Runtime

STATIC_FILE = "static.safetensors"


def open_encoder(
    folder: Path, params: EmbedParams, earlier: Sequence[EarlierResult], static_file: Path, runtime: Runtime
) -> tuple[TextEncoder, Rarity]:
    """Return an encoder, and how rare the tokens of its vocabulary are.

    Args:
        folder: of the transformers model.
        params: `kind` and `max_tokens`.
        earlier: results of the same encoder; their static vectors are those that would be made now.
        static_file: where the static vectors go; without any the file is empty.
        runtime: device, tokens a batch, progress.

    Raises:
        InputError: if transformers cannot load the folder or its tokenizer gives no offsets.
    """
    if params.kind == "transformer":
        save_static(None, static_file)
        encoder = _transformer(folder, params, runtime)
        return encoder, _rarity(encoder.tokeniser)
    tokeniser = Tokeniser(load_tokenizer(folder), folder, params.max_tokens)
    vectors = load_static(earlier[0].path(STATIC_FILE)) if earlier else _distilled(folder, params, runtime)
    save_static(vectors, static_file)
    rarity = _rarity(tokeniser)
    return StaticEncoder(tokeniser, vectors, rarity.token_weights), rarity


def _transformer(folder: Path, params: EmbedParams, runtime: Runtime) -> Encoder:
    return Encoder(folder, params.max_tokens, runtime.device, runtime.batch_tokens)


def _distilled(folder: Path, params: EmbedParams, runtime: Runtime) -> np.ndarray:
    encoder = _transformer(folder, params, runtime)
    with runtime.progress("distil", len(encoder.tokeniser.vocabulary)) as progress:
        return distil(encoder, progress.advance)


def _rarity(tokeniser: Tokeniser) -> Rarity:
    return Rarity(tokeniser.vocabulary, tokeniser.piece_ids)
