"""Each distinct text is read once: token vectors are kept while, and only while, a later shard needs them again."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fractal_core.encode.reading import Reading, TextEncoder
from fractal_core.encode.spool import VectorSpool, text_hash


class Uses(NamedTuple):
    """In how many shards each text occurs that occurs in several, by `text_hash`; characters of all distinct texts."""

    recurring: Counter[str]
    characters: int


def count_uses(shards: Iterable[Iterable[str]]) -> Uses:
    """Count what there is to read.

    Args:
        shards: the texts of each shard, repetitions allowed.
    """
    uses: Counter[str] = Counter()
    characters = 0
    for texts in shards:
        lengths = {text_hash(text): len(text) for text in texts}
        characters += sum(length for key, length in lengths.items() if key not in uses)
        uses.update(lengths.keys())
    return Uses(Counter({key: count for key, count in uses.items() if count > 1}), characters)


class TextReader:
    """Reads texts through the encoder, spools each pooled vector once, and holds token vectors that recur.

    Held vectors are bounded in bytes. Past the bound, those used longest ago are let go, and their text is read again
    when it comes back: `read_again` counts that. Below the bound it stays 0 and every distinct text is encoded once.
    """

    def __init__(self, encoder: TextEncoder, uses: Uses, spool: VectorSpool, held_bytes: int) -> None:
        """Start with nothing read.

        Args:
            encoder: the encoder.
            uses: from `count_uses`, over the very shards that will be read.
            spool: takes the pooled vectors.
            held_bytes: most bytes of vectors held between shards.
        """
        self._encoder = encoder
        self._left = Counter(uses.recurring)
        self._spool = spool
        self._held: OrderedDict[str, Reading] = OrderedDict()
        self._held_bytes = 0
        self._most_bytes = held_bytes
        self._spooled: set[str] = set()
        self.read_again = 0

    def read(
        self, texts: Iterable[str], advance: Callable[[int], None] = lambda characters: None
    ) -> dict[str, Reading]:
        """Return what the encoder says of each distinct text of one shard; `advance` hears of characters read."""
        keys = {text: text_hash(text) for text in dict.fromkeys(texts)}
        found = {text: self._held[key] for text, key in keys.items() if key in self._held}
        new = [text for text in keys if text not in found]
        for text, reading in zip(new, self._encoder.read(new, advance), strict=True):
            found[text] = reading
            self._store(keys[text], reading)
        for text, key in keys.items():
            if key in self._left:
                self._keep_or_drop(key, found[text])
        while self._held_bytes > self._most_bytes:
            _, dropped = self._held.popitem(last=False)
            self._held_bytes -= dropped.nbytes
        return found

    def _store(self, key: str, reading: Reading) -> None:
        if key in self._spooled:
            self.read_again += 1
            return
        if key in self._left:
            self._spooled.add(key)
        self._spool.append(key, reading.pooled)

    def _keep_or_drop(self, key: str, reading: Reading) -> None:
        self._left[key] -= 1
        if key in self._held:
            self._held_bytes -= self._held.pop(key).nbytes
        if self._left[key] > 0:
            self._held[key] = reading
            self._held_bytes += reading.nbytes
