"""What a GPU does otherwise than a CPU: half-precision products, and a batch begun before the last is taken."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from fractal_core.encode import encoder
from fractal_core.encode.ahead import fetched, one_ahead, sent
from fractal_core.encode.encoder import GPU_NUMBERS
from fractal_core.encode.loading import load_model
from fractal_core.encode.models import default_model_folder
from fractal_core.encode.padded import PaddedReader

TEXTS = ["Milk.", "The mill was built beside the river.", "It was closed in 1912, and burnt down.", "Milk is heated."]


def read(tokenizer, model, half):
    """Pooled and token vectors of all texts, as a GPU reads them."""
    reader = PaddedReader(model.eval(), tokenizer, "cpu", 64, 64, half)
    ids = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text in TEXTS]
    pooled, tokens = {}, {}
    for batch in reader.batches([len(each) for each in ids]):
        for index, vector, of_tokens in zip(
            batch.indices, *reader.read([ids[index] for index in batch.indices], batch), strict=True
        ):
            pooled[index], tokens[index] = vector, of_tokens.astype(np.float32)
    return [pooled[index] for index in range(len(TEXTS))], [tokens[index] for index in range(len(TEXTS))]


@pytest.mark.parametrize(("half", "least"), [(GPU_NUMBERS, 0.9999), (torch.bfloat16, 0.999)], ids=str)
def test_half_precision_gives_the_same_vectors(half, least):
    """MiniLM's vectors are nearly those of float32, of type float32 and of length 1."""
    tokenizer, model = load_model(default_model_folder())
    pooled, tokens = read(tokenizer, model, half)
    expected, of_tokens = read(tokenizer, model, None)
    for ours, theirs, own, other in zip(pooled, expected, tokens, of_tokens, strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-5)
        assert least <= ours @ theirs
        assert not np.array_equal(ours, theirs)
        assert own.shape == other.shape
        assert (own * other).sum(-1).min() > least - 0.002


def test_numbers_too_large_for_it_are_read_again(tiny_encoder):
    """In float32, for a model whose layers go beyond 65,504."""
    tokenizer, model = load_model(tiny_encoder)
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.intermediate.dense.weight *= 3e5
            layer.output.dense.weight *= 3e5
    expected, of_tokens = read(tokenizer, model, None)
    pooled, tokens = read(tokenizer, model, torch.float16)
    assert np.isfinite(expected).all()
    assert np.array_equal(pooled, expected)
    assert all(np.array_equal(*pair) for pair in zip(tokens, of_tokens, strict=True))


def test_a_piece_begins_before_the_one_in_front_is_finished():
    """And results come in order."""
    happened = []

    def begin(piece):
        happened.append(f"begin {piece}")
        return lambda: happened.append(f"finish {piece}") or piece * piece

    assert list(one_ahead(begin, range(3))) == [0, 1, 4]
    assert happened == ["begin 0", "begin 1", "finish 0", "begin 2", "finish 1", "finish 2"]
    assert list(one_ahead(begin, [])) == []


def test_an_encoder_on_a_gpu(monkeypatch, tiny_encoder):
    """It reads in half precision, and one batch ahead: what it is made of is told so."""
    tokenizer, _ = load_model(tiny_encoder)
    made, happened = [], []

    class Reader:
        def __init__(self, *arguments):
            made.append(arguments)

        def batches(self, lengths):
            return [SimpleNamespace(indices=[place]) for place in range(len(lengths))]

        def begin(self, texts, batch):
            happened.append(f"begin {batch.indices}")
            return lambda: happened.append(f"finish {batch.indices}") or (texts, texts)

    model = MagicMock()
    model.config.max_position_embeddings = 64
    monkeypatch.setattr(encoder, "load_model", lambda folder: (tokenizer, model))
    monkeypatch.setattr(encoder, "PaddedReader", Reader)
    gpu = encoder.Encoder(tiny_encoder, 64, "cuda", 512)
    model.to.assert_called_once_with("cuda")
    assert [arguments[2:] for arguments in made] == [("cuda", 512, 64, torch.float16)]
    assert [indices for indices, *_ in gpu.vectors([[1], [2]])] == [[0], [1]]
    assert happened == ["begin [0]", "begin [1]", "finish [0]", "finish [1]"]


def test_transfers():
    """What is sent and fetched is what it was."""
    numbers = torch.arange(12.0).reshape(3, 4)
    assert np.array_equal(fetched(sent(numbers, "cpu"))(), numbers.numpy())
