"""Token vectors of texts that were read before: a text is read by the encoder once, for as long as there is room."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.encode.reading import Reading
from fractal_core.encode.spool import text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fractal_core.encode.reading import TextEncoder
    from fractal_core.store.stage import Shelf

_NAMES = tuple(field.name for field in fields(Reading))
_TYPES = dict(zip(_NAMES, ("<f4", "<f2", "<f4", "<i4", "<i4"), strict=True))


class RememberedEncoder:
    """An encoder that looks for texts on a shelf first, and puts there what it has read.

    A reading depends on its text alone, to the bit on a CPU, so it does not matter which of the two it comes from.
    """

    def __init__(self, encoder: TextEncoder, shelf: Shelf) -> None:
        """Join the two; the shelf must be of this encoder.

        Attributes:
            remembered: keys of the texts that were on the shelf when they were first asked for.
        """
        self._encoder = encoder
        self._shelf = shelf
        self.tokeniser = encoder.tokeniser
        self.dimensions = encoder.dimensions
        self.remembered: set[bytes] = set()
        self._read: set[bytes] = set()

    def read(self, texts: Sequence[str], advance: Callable[[int], None]) -> list[Reading]:
        """Return one `Reading` a text, in order; `advance` hears of characters read."""
        keys = [bytes.fromhex(text_hash(text)) for text in texts]
        found = {key: unpack(content, self.dimensions) for key, content in self._shelf.take(keys).items()}
        advance(sum(len(text) for text, key in zip(texts, keys, strict=True) if key in found))
        new = [place for place, key in enumerate(keys) if key not in found]
        read = self._encoder.read([texts[place] for place in new], advance)
        made = {keys[place]: reading for place, reading in zip(new, read, strict=True)}
        self.remembered |= found.keys() - self._read
        self._read |= made.keys()
        self._shelf.put({key: pack(reading) for key, reading in made.items()})
        found |= made
        return [found[key] for key in keys]


def pack(reading: Reading) -> bytes:
    """Return the arrays of a reading as bytes, one after the other."""
    return b"".join(np.ascontiguousarray(getattr(reading, name), _TYPES[name]).tobytes() for name in _NAMES)


def unpack(content: bytes, dimensions: int) -> Reading:
    """Return what `pack` packed.

    Args:
        content: the bytes.
        dimensions: of the vectors.
    """
    # A token has its vectors in two layers (2 bytes a number), a weight, an id, and two offsets (4 bytes each).
    tokens = (len(content) - 4 * dimensions) // (2 * 2 * dimensions + 4 * 4)
    shapes = ((dimensions,), (2, tokens, dimensions), (tokens,), (tokens,), (tokens, 2))
    writable = bytearray(content)  # PyTorch takes no others without a warning.
    arrays, start = {}, 0
    for name, shape in zip(_NAMES, shapes, strict=True):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(writable, _TYPES[name], count, start).reshape(shape)
        start += arrays[name].nbytes
    return Reading(**arrays)
