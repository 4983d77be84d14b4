"""Each distinct text is read once, and its vector kept once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fractal_core.encode.reader import TextReader, count_uses
from fractal_core.encode.reading import Reading
from fractal_core.encode.spool import VectorSpool, text_hash

SHARDS = [["a", "b", "a"], ["b", "c"], ["d"], ["b", "a", "e"]]


class CountingEncoder:
    """Gives every text the vector of its first letter, and remembers what it was asked to read."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def read(self, texts, advance):
        self.seen.update(texts)
        advance(sum(map(len, texts)))
        return [
            Reading(
                np.full(4, ord(text[0]), np.float32), np.zeros((2, 1, 4), np.float16), np.ones(1, np.float32),
                np.zeros(1, np.int32), np.zeros((1, 2), np.int32),
            )
            for text in texts
        ]  # fmt: skip


def run(tmp_path, held_bytes):
    """Read all shards; return the encoder, the reader and the spooled rows."""
    encoder = CountingEncoder()
    spool = VectorSpool(tmp_path / "spool", 4)
    uses = count_uses(SHARDS)
    reader = TextReader(encoder, uses, spool, held_bytes)
    progress = []
    for shard in SHARDS:
        found = reader.read(shard, progress.append)
        assert set(found) == set(shard)
        assert all(found[text].pooled[0] == ord(text[0]) for text in shard)
    assert sum(progress) >= uses.characters == len("abcde")
    if not reader.read_again:
        assert sum(progress) == uses.characters
    rows = [
        (key, vector) for keys, vectors in spool.sorted_batches(2) for key, vector in zip(keys, vectors, strict=True)
    ]
    return encoder, reader, rows


def test_every_text_is_encoded_once(tmp_path):
    """With room to hold recurring texts, nothing is read twice, and nothing is held once no shard needs it."""
    encoder, reader, _ = run(tmp_path, 10**6)
    assert encoder.seen == Counter("abcde")
    assert reader.read_again == 0
    assert not reader._held


def test_without_room_texts_are_read_again_and_counted(tmp_path):
    """With no room at all, recurring texts are read once a shard, and the reader says how often."""
    encoder, reader, _ = run(tmp_path, 0)
    assert encoder.seen == Counter({"a": 2, "b": 3, "c": 1, "d": 1, "e": 1})
    assert reader.read_again == 3


@pytest.mark.parametrize("held_bytes", [0, 10**6])
def test_vectors_come_out_once_and_sorted(tmp_path, held_bytes):
    """The spool gives every distinct text once, in the order of the hashes, with its own vector."""
    _, _, rows = run(tmp_path, held_bytes)
    assert [key for key, _ in rows] == sorted(text_hash(text) for text in "abcde")
    letters = {text_hash(text): ord(text) for text in "abcde"}
    assert all(vector.tolist() == [letters[key]] * 4 for key, vector in rows)


def test_text_hash_is_blake2b_128():
    """The key of table embeddings is the first 16 bytes of BLAKE2b with that digest size, in hexadecimal."""
    assert text_hash("") == "cae66941d9efbd404e4d88758ea67670"
    assert len(text_hash("é")) == 32
