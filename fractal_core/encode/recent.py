"""Texts read as they come: what was said of those used last is held, since queries and documents come again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fractal_core.encode.reading import Reading, TextEncoder


class RecentReader:
    """Reads texts through the encoder and holds what was used last, up to a number of bytes.

    `TextReader` knows beforehand which texts come again; this one need not have seen what comes.
    """

    def __init__(self, encoder: TextEncoder, held_bytes: int) -> None:
        """Start with nothing read.

        Args:
            encoder: the encoder.
            held_bytes: most bytes of vectors held between calls.
        """
        self._encoder = encoder
        self._held: OrderedDict[str, Reading] = OrderedDict()
        self._held_bytes = 0
        self._most_bytes = held_bytes

    def read(self, texts: Iterable[str]) -> dict[str, Reading]:
        """Return what the encoder says of each distinct text."""
        wanted = dict.fromkeys(texts)
        new = [text for text in wanted if text not in self._held]
        read = dict(zip(new, self._encoder.read(new, lambda characters: None), strict=True))
        found = {text: read[text] if text in read else self._held[text] for text in wanted}
        for text, reading in found.items():
            if text in read:
                self._held_bytes += reading.nbytes
            self._held[text] = reading
            self._held.move_to_end(text)
        while self._held_bytes > self._most_bytes:
            self._held_bytes -= self._held.popitem(last=False)[1].nbytes
        return found
