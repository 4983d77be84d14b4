"""Shards of responses, and their evidence: compared in this process, which holds the token vectors that recur."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from fractal_core.encode.reader import TextReader, Uses
from fractal_core.encode.remembered import RememberedEncoder
from fractal_core.encode.uncollected import uncollected
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.evidence.extract import Evidence, extract

if TYPE_CHECKING:
    from fractal_core.encode.opening import Opened
    from fractal_core.encode.spool import VectorSpool
    from fractal_core.evidence.material import Material
    from fractal_core.store.stage import Runtime

_FIELDS: list[pa.Field[Any]] = [
    pa.field("response_id", pa.string(), nullable=False),
    pa.field("sentence_index", pa.int32(), nullable=False),
    pa.field("best_chunk", pa.int32()),
    *(pa.field(feature.name, pa.float32()) for feature in FEATURES),
]
EVIDENCE_SCHEMA = pa.schema(_FIELDS)


class Shard(NamedTuple):
    """Consecutive responses.

    Attributes:
        materials: of all of them.
        keys: of each, see `fractal_core.reuse`.
        new: those that were not compared before.
    """

    materials: list[Material]
    keys: list[bytes]
    new: list[Material]

    @property
    def texts(self) -> list[str]:
        """What the encoder must read for the new ones, repetitions included."""
        return [text for material in self.new for text in material.texts]


# Told of characters read.
Advance = Callable[[int], None]


class Comparing(Protocol):
    """Compares shards, here or elsewhere.

    Attributes:
        remembered: how many texts were remembered from earlier runs, and not read.
    """

    @property
    def remembered(self) -> int:
        """See the class."""

    def compare(self, shards: Callable[[], Iterator[Shard]], advance: Advance) -> Iterator[tuple[Shard, pa.Table]]:
        """Yield each shard with the `evidence_rows` of what is new in it, in order; vectors of texts go to a spool.

        Args:
            shards: begins to go through the shards anew.
            advance: told of characters read.
        """


class ComparedHere:
    """Compares in this process, a shard after the other; what was remembered was on the shelf."""

    def __init__(self, opened: Opened, uses: Uses, spool: VectorSpool, runtime: Runtime, held_bytes: int) -> None:
        """Start with nothing read; arguments as of `TextReader`."""
        # Static vectors are looked up as quickly as what was remembered.
        self._shelved = RememberedEncoder(opened.encoder, runtime.shelf) if opened.static is None else None
        self._reader = TextReader(self._shelved or opened.encoder, uses, spool, held_bytes)
        self._rarity = opened.rarity
        self._runtime = runtime

    @property
    def remembered(self) -> int:
        """How many texts were on the shelf."""
        return len(self._shelved.remembered) if self._shelved else 0

    def compare(self, shards: Callable[[], Iterator[Shard]], advance: Advance) -> Iterator[tuple[Shard, pa.Table]]:
        """Compare shards, see `Comparing.compare`."""
        for shard in shards():
            compared = None
            if shard.new:
                with uncollected():
                    readings = self._reader.read(shard.texts, advance)
                    compared = extract(shard.new, readings, self._rarity, self._runtime.device)
            yield shard, evidence_rows(shard.new, compared)
        if self._reader.read_again:
            self._runtime.note(
                f"{self._reader.read_again:,} texts were encoded again: their token vectors no longer fitted in memory."
            )


def evidence_rows(materials: Sequence[Material], evidence: Evidence | None) -> pa.Table:
    """Return the evidence of some responses as rows of table `evidence` without response_id: NaN becomes null."""
    schema = pa.schema(_FIELDS[1:])
    if evidence is None:
        return schema.empty_table()
    lengths = [len(material.sentences) for material in materials]
    columns = [
        pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        pa.array(evidence.best_chunk, mask=evidence.best_chunk < 0),
        *(pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(evidence.values.T)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
