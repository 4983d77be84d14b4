"""Static vectors and the encoder that adds them up, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from fractal_core.encode.distilling import distil, load_static, save_static
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.static import StaticEncoder
from fractal_core.evidence.rarity import Rarity

TEXTS = ["milk", "a longer text about heated milk, 120 degrees", "", "two words", "milk", "x y" * 90]


@pytest.fixture(scope="module")
def static(tiny_encoder):
    """A static encoder made from the tiny one, its vectors, and its weights."""
    encoder = Encoder(tiny_encoder, 64)
    vectors = distil(encoder)
    rarity = Rarity(encoder.tokeniser.vocabulary, encoder.tokeniser.piece_ids)
    return StaticEncoder(encoder.tokeniser, vectors, rarity.token_weights), vectors, rarity.token_weights


def bits(readings):
    """All vectors, byte for byte."""
    return [reading.pooled.tobytes() + reading.tokens.tobytes() for reading in readings]


@torch.no_grad()
def test_each_token_is_read_by_itself(static, tiny_encoder):
    """The vectors are the principal components of what the model makes of [CLS] token [SEP], by singular values."""
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_encoder))
    model = AutoModel.from_pretrained(str(tiny_encoder)).eval()
    layers = []
    for index in range(len(tokenizer)):
        ids = torch.tensor([[tokenizer.cls_token_id, index, tokenizer.sep_token_id]])
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        layers.append([states[len(states) // 2][0, 1].double().numpy(), states[-1][0, 1].double().numpy()])
    for layer, found in zip(np.array(layers).swapaxes(0, 1), static[1], strict=True):
        units = layer / np.linalg.norm(layer, axis=1, keepdims=True)
        centred = units - units.mean(axis=0)
        turned = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        # The sign of a component is anyone's choice; the first ones are far enough apart to be told from each other.
        same = np.abs(np.einsum("vd,vd->d", turned, found.astype(np.float64)))
        assert (same[:8] / np.linalg.norm(turned, axis=0)[:8] ** 2 > 0.999).all()
        np.testing.assert_allclose(found.astype(np.float64) @ found.T, turned @ turned.T, atol=1e-2)


def test_wide_vectors_are_cut(static, tiny_encoder, monkeypatch):
    """No more components are kept than asked for: the first ones, scaled to length 1 again."""
    monkeypatch.setattr("fractal_core.encode.distilling.MOST_DIMENSIONS", 8)
    cut = distil(Encoder(tiny_encoder, 64)).astype(np.float64)
    first = static[1][:, :, :8].astype(np.float64)
    assert cut.shape == (2, static[1].shape[1], 8)
    np.testing.assert_allclose(cut, first / np.linalg.norm(first, axis=2, keepdims=True), atol=5e-3)


def test_a_text_is_the_weighted_sum_of_its_tokens(static):
    """Pooled and token vectors, ids and offsets, against a loop; the text without tokens is 0."""
    encoder, vectors, weights = static
    for reading, text in zip(encoder.read(TEXTS), TEXTS, strict=True):
        expected = np.zeros(vectors.shape[2])
        for place, index in enumerate(reading.token_ids):
            expected += weights[index] * vectors[1, index].astype(np.float64)
            assert (reading.tokens[:, place] == vectors[:, index]).all()
            assert reading.weights[place] == weights[index]
        length = np.linalg.norm(expected)
        assert bool(length) == bool(text)
        np.testing.assert_allclose(reading.pooled, expected / max(length, 1e-12), atol=1e-6)


def test_tokens_are_those_of_the_transformer(static, tiny_encoder):
    """The same tokens at the same places, special tokens left out, long texts cut at the same one."""
    for one, other in zip(static[0].read(TEXTS), Encoder(tiny_encoder, 64).read(TEXTS), strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.offsets.tolist() == other.offsets.tolist()


def test_company_does_not_matter(static):
    """A text has the same vectors to the last bit alone and among others, in any order."""
    encoder = static[0]
    texts = [f"{'word ' * (1 + i * 7 % 40)}{i}" for i in range(60)]
    together = bits(encoder.read(texts))
    assert bits(encoder.read(texts[::-1]))[::-1] == together
    assert [bits(encoder.read([text]))[0] for text in texts] == together


def test_vectors_are_the_same_every_time(static, tiny_encoder):
    """Made again, on three threads, they agree to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    again = distil(Encoder(tiny_encoder, 64))
    torch.set_num_threads(before)
    assert again.tobytes() == static[1].tobytes()


def test_vectors_are_kept_in_a_file(static, tmp_path):
    """They come back as they were; a transformer's file has none."""
    save_static(static[1], tmp_path / "static.safetensors")
    assert load_static(tmp_path / "static.safetensors").tobytes() == static[1].tobytes()
    save_static(None, tmp_path / "none.safetensors")
    with pytest.raises(KeyError):
        load_static(tmp_path / "none.safetensors")
