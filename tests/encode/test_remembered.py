"""A text is read by the encoder once; what is remembered of it is the same to the bit."""

from __future__ import annotations

import numpy as np

from fractal_core.encode.encoder import Encoder
from fractal_core.encode.remembered import RememberedEncoder, pack, unpack

TEXTS = ["The mill was built in 1840.", "", "It burnt down, twice; nobody knows why.", "mill"]


class Memory:
    """A shelf without bounds."""

    def __init__(self):
        self.pieces = {}

    def take(self, keys):
        """Return the pieces that are there."""
        return {key: self.pieces[key] for key in keys if key in self.pieces}

    def put(self, pieces):
        """Keep all."""
        self.pieces.update(pieces)


class Counting:
    """An encoder that counts what it reads."""

    def __init__(self, encoder):
        self.encoder, self.tokeniser, self.dimensions, self.texts = encoder, encoder.tokeniser, encoder.dimensions, []

    def read(self, texts, advance):
        """Read, and remember which."""
        self.texts += texts
        return self.encoder.read(texts, advance)


def same(one, other):
    """Compare two readings to the bit, types included."""
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("pooled", "tokens", "weights", "token_ids", "offsets")
    )


def test_packed_and_unpacked(tiny_encoder):
    """Every array comes back with its shape and type, of a text without tokens too."""
    encoder = Encoder(tiny_encoder, 64, "cpu", 512)
    for reading in encoder.read(TEXTS, lambda count: None):
        assert same(unpack(pack(reading), encoder.dimensions), reading)


def test_a_text_is_read_once(tiny_encoder):
    """A second encoder over the same shelf reads what is new alone; order and progress are as without a shelf."""
    memory, heard = Memory(), []
    encoder = Encoder(tiny_encoder, 64, "cpu", 512)
    first = Counting(encoder)
    expected = RememberedEncoder(first, memory).read(TEXTS[:3], heard.append)
    assert first.texts == TEXTS[:3]
    second = Counting(encoder)
    found = RememberedEncoder(second, memory).read(TEXTS[::-1], heard.append)
    assert second.texts == ["mill"]
    assert all(same(one, other) for one, other in zip(found[:0:-1], expected, strict=True))
    assert sum(heard) == sum(map(len, TEXTS[:3])) + sum(map(len, TEXTS))
