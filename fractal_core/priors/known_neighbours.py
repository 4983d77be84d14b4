"""Neighbours that an earlier result has, of sentences that are in it with the same vector.

Such a sentence's nearest are the same again, but for sentences that are new and come before the last of them; only if
one of them is gone is the sentence searched for anew. That gives what a search for everything gives, to the last bit:
similarities are rounded once, whichever way a pair was found. Where leading sentences were looked up in a graph
(`fractal_core.priors.base`), all of them must be there again and no other, with all their neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fractal_core.priors.sentences import Sentences
    from fractal_core.store.stage import EarlierResult

COMPARED_FILE = "compared.parquet"
_DIGEST_BYTES = 16
_GRAPH = b"graph"
_ROWS_AT_ONCE = 100_000
_MOST = 0.9
"""Among earlier results the first that has this share of the sentences will do."""


@dataclass(frozen=True)
class Known:
    """Neighbours found earlier, by the rows of now.

    Attributes:
        rows: [N, K] int32, -1 past the last.
        similarities: [N, K] float32, NaN there.
        settled: [N] bool, whether a sentence was there and all its neighbours still are.
        fresh: [F] int64, ascending: the sentences that were not there.
    """

    rows: NDArray[np.int32]
    similarities: NDArray[np.float32]
    settled: NDArray[np.bool_]
    fresh: NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """By what the neighbours of an artefact were found.

    Attributes:
        digests: [N] from `vector_digests`; of length 0 if nothing was compared.
        base: digest of the leading sentences, which were looked up in a graph; empty if all were compared exactly.
        summary: a clause about the graph, for the user; empty without one.
        figures: what was measured of the graph.
    """

    digests: pa.Array[Any]
    base: str = ""
    summary: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def nothing_known(size: int, count: int) -> Known:
    """Return what is known without an earlier result of N sentences with K neighbours each."""
    rows, similarities = np.full((size, count), -1, dtype=np.int32), np.full((size, count), np.nan, dtype=np.float32)
    return Known(rows, similarities, np.zeros(size, dtype=np.bool_), np.arange(size))


def nothing_compared() -> Compared:
    """Return what there is to keep where no neighbours are wanted."""
    return Compared(pa.array([], pa.binary(_DIGEST_BYTES)))


def vector_digests(sentences: Sentences) -> pa.Array[Any]:
    """Return [N] BLAKE2b-128 of each sentence's vector."""
    vectors = np.ascontiguousarray(sentences.vectors)
    digests = [blake2b(vector, digest_size=_DIGEST_BYTES).digest() for vector in vectors]
    return pa.array(digests, pa.binary(_DIGEST_BYTES)).take(pa.array(sentences.text, pa.int64()))


def base_digest(ids: pa.Array[Any], digests: pa.Array[Any], text: NDArray[np.int64]) -> str:
    """Return the BLAKE2b-128 of sentences in their order, in hex.

    Args:
        ids: [N] from `sentence_ids`.
        digests: [N] from `vector_digests`.
        text: [N] int64: which of them have the same text, for texts that differ may have the same vector.
    """
    found = blake2b(text.tobytes(), digest_size=_DIGEST_BYTES)
    for low in range(0, len(ids), _ROWS_AT_ONCE):
        keys: list[Any] = _keys(ids[low : low + _ROWS_AT_ONCE], digests[low : low + _ROWS_AT_ONCE]).to_pylist()
        for key in keys:
            found.update(len(key).to_bytes(8, "little"))
            found.update(key)
    return found.hexdigest()


def save_compared(compared: Compared, path: Path) -> None:
    """Write by what neighbours were found."""
    graph = {"base": compared.base, "summary": compared.summary, "figures": dict(compared.figures)}
    table = pa.table({"vector": compared.digests})
    pq.write_table(table.replace_schema_metadata({_GRAPH: json.dumps(graph).encode()}), path)


def _saved_compared(path: Path) -> Compared:
    table = pq.read_table(path)
    return Compared(table.column("vector").combine_chunks(), **json.loads((table.schema.metadata or {})[_GRAPH]))


def sentence_ids(response_id: pa.ChunkedArray[Any], sentence_index: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Return "response_id#sentence_index" of each sentence, as table priors names neighbours; large_string."""
    parts: list[Any] = [part.cast(pa.large_string()).combine_chunks() for part in (response_id, sentence_index)]
    ids: pa.Array[Any] = pc.binary_join_element_wise(*parts, pa.scalar("#", pa.large_string()))
    return ids


def find_known(
    earlier: Sequence[EarlierResult], ids: pa.Array[Any], compared: Compared, count: int
) -> tuple[Known, Compared]:
    """Return the neighbours that the earlier result with most of the sentences has, and by what it found them.

    Args:
        earlier: results that have a `COMPARED_FILE`, with as many neighbours.
        ids: [N] from `sentence_ids`.
        compared: the vectors of now, and the leading sentences: only a result with the same ones will do.
        count: neighbours a sentence, K.
    """
    keys = _keys(ids, compared.digests)
    nothing = nothing_known(len(ids), count), nothing_compared()
    found: tuple[int, EarlierResult, pa.Array[Any], NDArray[np.int64], Compared] | None = None
    for result in earlier:
        saved = _saved_compared(result.path(COMPARED_FILE))
        if len(saved.digests) == 0 or saved.base != compared.base:
            continue
        theirs = _ids_of(result)
        place = _places(keys, _keys(theirs, saved.digests))
        many = int((place >= 0).sum())
        if found is None or many > found[0]:
            found = many, result, theirs, place, saved
        if many >= _MOST * len(keys):
            break
    if found is None:
        return nothing
    _, result, theirs, place, saved = found
    # Equally similar sentences come in row order, so what was decided in another order is not taken.
    if (np.diff(place[place >= 0]) < 0).any():
        return nothing
    return _translated(result, theirs, place, count), saved


def _translated(result: EarlierResult, theirs: pa.Array[Any], place: NDArray[np.int64], count: int) -> Known:
    """Return an earlier result's neighbours; `place` has each sentence's row there, -1 if it was not there."""
    known = nothing_known(len(place), count)
    now = np.full(len(theirs), -1, dtype=np.int64)
    now[place[place >= 0]] = np.flatnonzero(place >= 0)
    for low, lengths, names, similarities in _lists(result):
        owner = np.repeat(now[low : low + len(lengths)], lengths)
        slot = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        neighbour = now[_places(names, theirs)]
        there = owner >= 0
        known.rows[owner[there], slot[there]] = neighbour[there]
        known.similarities[owner[there], slot[there]] = similarities[there]
    # A neighbour that is gone leaves a similarity without a row.
    gone = (known.rows < 0) & ~np.isnan(known.similarities)
    return Known(known.rows, known.similarities, (place >= 0) & ~gone.any(axis=1), np.flatnonzero(place < 0))


def _lists(
    result: EarlierResult,
) -> Iterator[tuple[int, NDArray[np.int64], pa.Array[Any], NDArray[np.float32]]]:
    """Yield the first row of a batch, the neighbours each row has, and the ids and similarities of all of them."""
    low = 0
    for batch in result.batches("priors", ("neighbour_ids", "neighbour_similarities"), _ROWS_AT_ONCE):
        names, similarities = batch.column("neighbour_ids"), batch.column("neighbour_similarities")
        lengths = pc.list_value_length(names).to_numpy().astype(np.int64)
        yield low, lengths, pc.list_flatten(names).cast(pa.large_string()), pc.list_flatten(similarities).to_numpy()
        low += batch.num_rows


def _ids_of(result: EarlierResult) -> pa.Array[Any]:
    table = pa.Table.from_batches(list(result.batches("priors", ("response_id", "sentence_index"), _ROWS_AT_ONCE)))
    return sentence_ids(table.column("response_id"), table.column("sentence_index"))


def _keys(ids: pa.Array[Any], digests: pa.Array[Any]) -> pa.Array[Any]:
    parts: list[Any] = [part.cast(pa.large_binary()) for part in (ids, digests)]
    keys: pa.Array[Any] = pc.binary_join_element_wise(*parts, pa.scalar(b"#", pa.large_binary()))
    return keys


def _places(values: pa.Array[Any], among: pa.Array[Any]) -> NDArray[np.int64]:
    """Return where each value is, -1 if nowhere."""
    found: Any = pc.index_in(values, value_set=among)
    places: NDArray[np.int64] = found.fill_null(-1).to_numpy().astype(np.int64)
    return places
