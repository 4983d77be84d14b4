"""Loading a transformers model and its tokenizer from a local folder; nothing is unpickled, no code of its is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fractal_core.errors import InputError


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer.

    Raises:
        InputError: if transformers cannot load it.
    """
    from transformers import AutoTokenizer  # only where it is used: it takes long to import

    with _explained(folder):
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def load_model(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and encoder, float32, with safetensors weights; of an encoder-decoder the encoder alone.

    Raises:
        InputError: if transformers cannot load the folder.
    """
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    tokenizer = load_tokenizer(folder)
    with _explained(folder):
        model: Any = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    return tokenizer, model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"The encoder in {folder} cannot be loaded ({reason}); give a transformers folder.") from error
