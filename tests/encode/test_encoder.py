"""The encoder against the obvious: one text at a time, pooled by hand in float64."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, DistilBertConfig, DistilBertModel

from fractal_core.encode.encoder import Encoder
from fractal_core.encode.models import default_model_folder
from fractal_core.errors import InputError

TEXTS = ["milk", "a longer text about heated milk, 120 degrees", "", "two words", "milk", "x y" * 90]


@pytest.fixture(scope="module")
def folders(tiny_encoder, tmp_path_factory):
    """Encoders by name: a BERT, which is read in strips; another one, which is padded; MiniLM."""
    other = tmp_path_factory.mktemp("other") / "distilbert"
    shutil.copytree(tiny_encoder, other)
    torch.manual_seed(0)
    size = len(AutoTokenizer.from_pretrained(str(tiny_encoder)))
    config = DistilBertConfig(vocab_size=size, dim=32, n_layers=4, n_heads=2, hidden_dim=64)
    DistilBertModel(config).save_pretrained(other, safe_serialization=True)
    return {"tiny": tiny_encoder, "other": other, "MiniLM": default_model_folder()}


def by_hand(folder, text, max_tokens):
    """Encode one text alone: pooled vector and unit token vectors of the middle and last layer, in float64."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModel.from_pretrained(str(folder)).eval()
    coded = tokenizer(
        text, truncation=True, max_length=max_tokens, return_tensors="pt", return_special_tokens_mask=True
    )
    special = coded.pop("special_tokens_mask")[0].bool()
    coded.pop("token_type_ids")  # All 0, and unknown to some models.
    with torch.no_grad():
        states = model(**coded, output_hidden_states=True).hidden_states
    layers = [states[(len(states) - 1) // 2][0].double(), states[-1][0].double()]
    pooled = layers[1].mean(dim=0)
    tokens = [(layer / layer.norm(dim=1, keepdim=True))[~special].numpy() for layer in layers]
    return (pooled / pooled.norm()).numpy(), tokens


@pytest.mark.parametrize("name", ["tiny", "other", "MiniLM"])
@pytest.mark.parametrize("most_tokens", [64, 400])
def test_batched_vectors_equal_single_ones(name, most_tokens, folders):
    """Neither padding nor neighbours change the pooled or the token vectors, nor does a text longer than a batch."""
    texts = TEXTS if most_tokens == 64 else [*TEXTS, "z y x w" * 75]
    for reading, text in zip(Encoder(folders[name], most_tokens).read(texts), texts, strict=True):
        pooled, tokens = by_hand(folders[name], text, most_tokens)
        assert reading.pooled @ pooled >= 0.9999
        assert reading.pooled.dtype == np.float32
        assert reading.tokens.shape == (2, *tokens[0].shape)
        np.testing.assert_allclose(reading.tokens[0], tokens[0], atol=2e-3)
        np.testing.assert_allclose(reading.tokens[1], tokens[1], atol=2e-3)


def test_order_does_not_matter(tiny_encoder):
    """The vectors of a text are the same wherever it stands in the list."""
    encoder = Encoder(tiny_encoder, 64)
    forward, backward = encoder.read(TEXTS), encoder.read(TEXTS[::-1])[::-1]
    for one, other in zip(forward, backward, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
    assert bits(forward) == bits(backward)


def bits(readings):
    """All vectors, byte for byte."""
    return [reading.pooled.tobytes() + reading.tokens.tobytes() for reading in readings]


@pytest.mark.parametrize("name", ["tiny", "other", "MiniLM"])
def test_company_does_not_matter(name, folders):
    """A text has the same vectors to the last bit alone, with few others, and with many."""
    texts = [f"{'word ' * (1 + i * 7 % 40)}{i}" for i in range(60)]
    encoder = Encoder(folders[name], 64)
    together = bits(encoder.read(texts))
    assert bits(encoder.read(texts[::-1]))[::-1] == together
    assert [bits(encoder.read([text]))[0] for text in texts[:10]] == together[:10]
    assert bits(encoder.read(texts[20:47:3])) == together[20:47:3]


@pytest.mark.parametrize("name", ["tiny", "other", "MiniLM"])
def test_threads_do_not_matter(name, folders):
    """The vectors of a text are the same to the last bit on one thread and on three."""
    encoder, before = Encoder(folders[name], 64), torch.get_num_threads()
    texts = [f"{'word ' * (1 + i * 7 % 40)}{i}" for i in range(40)]
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(bits(encoder.read(texts)))
    torch.set_num_threads(before)
    assert found[0] == found[1]


def test_same_input_gives_the_same_bytes(tiny_encoder):
    """Two encoders with the same settings agree to the last bit."""
    one, other = (Encoder(tiny_encoder, 64).read(TEXTS) for _ in range(2))
    assert bits(one) == bits(other)


def test_offsets_point_into_the_text(tiny_encoder):
    """Every token's offsets cut its own characters out of the text; special tokens are left out."""
    (reading,) = Encoder(tiny_encoder, 64).read(["cat 42"])
    assert [tuple(offset) for offset in reading.offsets] == [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6)]


def test_long_texts_are_cut(tiny_encoder):
    """A text has at most max_tokens tokens, two of them special."""
    (reading,) = Encoder(tiny_encoder, 16).read(["x y" * 90])
    assert len(reading.token_ids) == 14


def test_a_folder_without_a_model_is_an_input_error(tmp_path):
    """An unreadable folder is reported in one sentence that names it."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        Encoder(tmp_path, 16)


def test_packaged_minilm_knows_what_sentences_mean():
    """The packaged MiniLM puts paraphrases nearer than strangers, in 384 dimensions."""
    encoder = Encoder(default_model_folder(), 256)
    milk, cream, law = (
        reading.pooled
        for reading in encoder.read(["Milk forms a skin when heated.", "A film appears on hot milk.", "The court sat."])
    )
    assert encoder.dimensions == 384
    assert milk @ cream > 0.5 > 0.2 > milk @ law
