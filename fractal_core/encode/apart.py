"""Shards of responses compared by other processes, which share no memory.

A text that several shards need is read first, once, and its token vectors are written to a file from which each of them
takes it. Every other text is read where it is needed. So the encoder reads each text once here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fractal_core.appearing import appearing
from fractal_core.encode.comparing import evidence_rows
from fractal_core.encode.material_tables import material_tables, materials_of
from fractal_core.encode.opening import open_encoder
from fractal_core.encode.remembered import pack, unpack
from fractal_core.encode.spool import text_hash
from fractal_core.encode.uncollected import uncollected
from fractal_core.evidence.extract import extract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fractal_core.encode.comparing import Advance, Shard
    from fractal_core.encode.opening import Opened
    from fractal_core.encode.reader import Uses
    from fractal_core.encode.reading import Reading
    from fractal_core.encode.spool import VectorSpool
    from fractal_core.engine import Do, Parcel
    from fractal_core.store.stage import Runtime

_PLACES: tuple[pa.Field[Any], ...] = (
    pa.field("text", pa.int32()),
    pa.field("file", pa.string()),
    pa.field("start", pa.int64()),
    pa.field("bytes", pa.int64()),
)


class Place(NamedTuple):
    """Where the token vectors of a text are: a file, and the bytes of it."""

    file: str
    start: int
    bytes: int


class ComparedApart:
    """Compares in the processes of an engine."""

    # The shelf is a database of one machine; files of this result take its place.
    remembered = 0

    def __init__(
        self, common: Parcel, uses: Uses, spool: VectorSpool, runtime: Runtime, folder: Path, characters: int
    ) -> None:
        """Start with nothing read.

        Args:
            common: `model` (folder), `kind`, `max_tokens`, and `static`, the file of static vectors or nothing.
            uses: which texts several shards need.
            spool: takes the pooled vectors.
            runtime: with the engine.
            folder: for what processes share; it must be there.
            characters: about so many of recurring texts are read at once.
        """
        self._common, self._uses, self._spool, self._runtime = common, uses, spool, runtime
        self._folder, self._characters = folder.resolve(), characters
        self._places: dict[str, Place] = {}
        self._spooled: set[str] = set()

    def compare(self, shards: Callable[[], Iterator[Shard]], advance: Advance) -> Iterator[tuple[Shard, pa.Table]]:
        """Compare shards, see `Comparing.compare`."""
        # Static vectors are looked up more quickly than files are read.
        if self._uses.recurring and not self._common["static"]:
            self._read_recurring(shards(), advance)
        parcels = ((shard, self._parcel(shard)) for shard in shards())
        for shard, made in self._deal(comparing_responses, parcels, "compare"):
            read = made["read"]
            self._take(
                read.column("text_hash").to_pylist(), read.column("characters").to_pylist(), made["pooled"], advance
            )
            yield shard, made["evidence"]

    def _deal(self, work: Any, parcels: Iterator[tuple[Any, Parcel]], name: str) -> Iterator[tuple[Any, Parcel]]:
        return self._runtime.engine.deal(self._runtime, work, self._common, parcels, self._folder / name)

    def _take(self, keys: Sequence[str], characters: Sequence[int], pooled: np.ndarray, advance: Advance) -> None:
        """Spool vectors that have not been."""
        for key, length, vector in zip(keys, characters, pooled, strict=True):
            if key in self._uses.recurring:
                if key in self._spooled:
                    continue
                self._spooled.add(key)
            self._spool.append(key, vector)
            advance(length)

    def _read_recurring(self, shards: Iterator[Shard], advance: Advance) -> None:
        parcels = (
            (texts, {"texts": pa.table({"text": texts}), "file": str(self._folder / f"tokens-{number:08}")})
            for number, texts in enumerate(self._recurring(shards))
        )
        for number, (texts, made) in enumerate(self._deal(reading_texts, parcels, "read")):
            keys = [text_hash(text) for text in texts]
            self._take(keys, [len(text) for text in texts], made["pooled"], advance)
            sizes = made["bytes"].tolist()
            starts = (np.cumsum(sizes) - sizes).tolist()
            file = str(self._folder / f"tokens-{number:08}")
            for key, start, size in zip(keys, starts, sizes, strict=True):
                self._places[key] = Place(file, start, size)

    def _recurring(self, shards: Iterator[Shard]) -> Iterator[list[str]]:
        """Yield the texts that several shards need, each once, about `characters` at a time."""
        seen: set[str] = set()
        texts: list[str] = []
        size = 0
        for shard in shards:
            for text in dict.fromkeys(shard.texts):
                key = text_hash(text)
                if key not in self._uses.recurring or key in seen:
                    continue
                seen.add(key)
                texts.append(text)
                size += len(text)
                if size > self._characters:
                    yield texts
                    texts, size = [], 0
        if texts:
            yield texts

    def _parcel(self, shard: Shard) -> dict[str, pa.Table]:
        places: list[dict[str, Any]] = []
        if self._places:
            for number, text in enumerate(dict.fromkeys(shard.texts)):
                place = self._places.get(text_hash(text))
                if place is not None:
                    places.append({"text": number, **place._asdict()})
        return {**material_tables(shard.new), "places": pa.Table.from_pylist(places, schema=pa.schema(_PLACES))}


def reading_texts(common: Parcel, runtime: Runtime) -> Do:
    """Return what reads `texts`, writes their token vectors to `file`, and returns `pooled` vectors and `bytes`."""
    encoder = _opened(common, runtime).encoder

    def read(shard: Parcel, advance: Advance) -> Parcel:
        readings = encoder.read(shard["texts"].column("text").to_pylist(), advance)
        packed = [pack(reading) for reading in readings]
        with appearing(Path(shard["file"])) as stream:
            stream.writelines(packed)
        sizes = np.array([len(content) for content in packed], dtype=np.int64)
        return {"bytes": sizes, "pooled": np.stack([reading.pooled for reading in readings])}

    return read


def comparing_responses(common: Parcel, runtime: Runtime) -> Do:
    """Return what compares the responses of a parcel: table `evidence`, and the texts it has `read`, with `pooled`."""
    encoder, rarity, _ = _opened(common, runtime)

    def compare(shard: Parcel, advance: Advance) -> Parcel:
        materials = materials_of(shard)
        texts = list(dict.fromkeys(text for material in materials for text in material.texts))
        readings = {texts[number]: reading for number, reading in _kept(shard["places"], encoder.dimensions)}
        new = [text for text in texts if text not in readings]
        with uncollected():
            read = encoder.read(new, advance)
            readings |= zip(new, read, strict=True)
            evidence = extract(materials, readings, rarity, runtime.device) if materials else None
        vectors = [reading.pooled for reading in read]
        hashes = {"text_hash": pa.array(map(text_hash, new), pa.string())}
        return {
            "evidence": evidence_rows(materials, evidence),
            "read": pa.table({**hashes, "characters": pa.array(map(len, new), pa.int64())}),
            "pooled": np.stack(vectors) if vectors else np.zeros((0, encoder.dimensions), dtype=np.float32),
        }

    return compare


def _opened(common: Parcel, runtime: Runtime) -> Opened:
    params: Any = SimpleNamespace(kind=common["kind"], max_tokens=common["max_tokens"])
    made = Path(common["static"]) if common["static"] else None
    return open_encoder(Path(common["model"]), params, made, runtime)


def _kept(places: pa.Table, dimensions: int) -> Iterator[tuple[int, Reading]]:
    """Yield numbers of texts with what was said of them."""
    files: dict[str, list[dict[str, Any]]] = {}
    for row in places.to_pylist():
        files.setdefault(row["file"], []).append(row)
    for file, rows in files.items():
        with Path(file).open("rb") as stream:
            for row in rows:
                stream.seek(row["start"])
                yield row["text"], unpack(stream.read(row["bytes"]), dimensions)
