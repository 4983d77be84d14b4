"""Neighbours that an earlier result has, against a search for everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.priors import fresh_neighbours as module
from fractal_core.priors.index import build_index
from fractal_core.priors.known_neighbours import (
    COMPARED_FILE,
    Compared,
    find_known,
    nothing_compared,
    save_compared,
    sentence_ids,
    vector_digests,
)
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences


class Named:
    """Some sentences under names: who they belong to, and by which vectors they are compared."""

    def __init__(self, vectors: np.ndarray, text: np.ndarray, owner: np.ndarray, position: np.ndarray) -> None:
        """Number texts and responses by themselves; `owner` does not decrease."""
        used, text = np.unique(text, return_inverse=True)
        self.compared = Sentences(vectors[used], text, np.unique(owner, return_inverse=True)[1])
        names = pa.chunked_array([pa.array([f"r{number:03}" for number in owner])])
        self.names, self.positions = names, pa.chunked_array([pa.array(position, pa.int32())])
        self.ids = sentence_ids(self.names, self.positions)
        self.by = Compared(vector_digests(self.compared))


class Earlier:
    """A result of stage priors, as the store hands it to a later run."""

    def __init__(self, sentences: Named, rows: np.ndarray, similarities: np.ndarray, folder: Path) -> None:
        """Keep a table and the file beside it."""
        lists = [[sentences.ids[int(row)].as_py() for row in each if row >= 0] for each in rows]
        values = [[value for value in each if not np.isnan(value)] for each in similarities]
        self._table = pa.table(
            {
                "response_id": sentences.names,
                "sentence_index": sentences.positions,
                "neighbour_ids": pa.array(lists, pa.list_(pa.string())),
                "neighbour_similarities": pa.array(values, pa.list_(pa.float32())),
            }
        )
        self._folder = folder
        save_compared(sentences.by, self.path(COMPARED_FILE))

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return self._folder / name

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns, in small batches whatever is asked for."""
        assert name == "priors"
        assert rows > 7
        return iter(self._table.select(list(columns)).to_batches(max_chunksize=7))

    def group_rows(self, name: str) -> list[int]:
        """Fail: nobody asks."""
        raise AssertionError(name)

    def group(self, name: str, columns: tuple[str, ...], number: int) -> pa.Table:
        """Fail: nobody asks."""
        raise AssertionError(name, columns, number)


def searched(sentences: Named, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Search for everything."""
    index = build_index(sentences.compared.vectors, "flat", device="cpu")
    return nearest_sentences(sentences.compared, count, index)


@given(
    seed=st.integers(0, 2**31),
    texts=st.integers(1, 25),
    size=st.integers(1, 60),
    responses=st.integers(1, 12),
    count=st.integers(1, 9),
    gone=st.sampled_from([0.0, 0.05, 0.5]),
    new=st.sampled_from([0.0, 0.1, 0.6]),
    changed=st.sampled_from([0.0, 0.1]),
    coarse=st.booleans(),
)
def test_equals_a_search_for_everything(
    seed: int, texts: int, size: int, responses: int, count: int, gone: float, new: float, changed: float, coarse: bool
) -> None:
    """Whatever came, went or got another vector, repeats, ties and short lists: the same neighbours, bit for bit."""
    random = np.random.default_rng(seed)
    vectors = random.choice([-0.5, 0.5], (texts, 4)) if coarse else random.normal(size=(texts, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    text, owner = random.integers(0, texts, size), np.sort(random.integers(0, responses, size))
    position = np.arange(size)
    before, now = random.random(size) >= new, random.random(size) >= gone
    before[random.integers(size)] = now[random.integers(size)] = True
    later = np.where(random.random((texts, 1)) < changed, np.roll(vectors, 1, axis=1), vectors)
    old = Named(vectors, text[before], owner[before], position[before])
    today = Named(later, text[now], owner[now], position[now])
    expected = searched(today, count)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        earlier = Earlier(old, *searched(old, count), Path(folder))
        known, _ = find_known([earlier], today.ids, today.by, count)
        patch.setattr(module, "BLOCK_ROWS", 7)
        index = build_index(today.compared.vectors, "flat", device="cpu")
        found = nearest_sentences(today.compared, count, index, known=known)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def _many(responses: int) -> Named:
    vectors = np.random.default_rng(5).normal(size=(40 * responses, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(4 * responses)
    return Named(vectors, rows, rows // 4, rows % 4)


def test_only_what_may_have_changed_is_searched(tmp_path: Path) -> None:
    """With three new sentences the index is asked about those three alone; the result is that of a full search."""
    all_ = _many(50)
    old = Named(all_.compared.vectors, np.arange(197), np.arange(197) // 4, np.arange(197) % 4)
    known, _ = find_known([Earlier(old, *searched(old, 5), tmp_path)], all_.ids, all_.by, 5)
    assert known.settled.sum() == 197
    assert known.fresh.tolist() == [197, 198, 199]
    index = build_index(all_.compared.vectors, "flat", device="cpu")
    asked: list[int] = []

    def search(queries: np.ndarray, many: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(queries))
        return index.search(queries, many)

    counted = type(index)(index.size, True, search)
    advanced: list[int] = []
    found = nearest_sentences(all_.compared, 5, counted, advanced.append, known=known)
    assert asked == [3]
    assert sum(advanced) == 200
    np.testing.assert_array_equal(found[0], searched(all_, 5)[0])


def test_another_order_is_not_trusted(tmp_path: Path) -> None:
    """Ties are decided by row order; where that is another, everything is searched again."""
    all_ = _many(5)
    earlier = Earlier(all_, *searched(all_, 3), tmp_path)
    backwards, _ = find_known([earlier], all_.ids[::-1], Compared(all_.by.digests[::-1]), 3)
    assert not backwards.settled.any()
    assert find_known([earlier], all_.ids, all_.by, 3)[0].settled.all()


def test_the_result_with_most_of_the_sentences_is_taken(tmp_path: Path) -> None:
    """Not the newest one if that is of another data set, none without neighbours, and none by another graph."""
    all_ = _many(5)
    other = Named(-all_.compared.vectors, all_.compared.text, all_.compared.response, np.arange(20) % 4)
    for name in ("other", "same", "nothing", "graph"):
        (tmp_path / name).mkdir()
    newest = Earlier(other, *searched(other, 3), tmp_path / "other")
    same = Earlier(all_, *searched(all_, 3), tmp_path / "same")
    nothing = Earlier(all_, *searched(all_, 3), tmp_path / "nothing")
    save_compared(nothing_compared(), nothing.path(COMPARED_FILE))
    graph = Earlier(all_, *searched(all_, 3), tmp_path / "graph")
    by = Compared(all_.by.digests, "00", "a graph", {"recall@10": 0.5})
    save_compared(by, graph.path(COMPARED_FILE))
    assert find_known([newest, nothing, graph, same], all_.ids, all_.by, 3)[0].settled.all()
    assert not find_known([newest, nothing, graph], all_.ids, all_.by, 3)[0].settled.any()
    assert not find_known([], all_.ids, all_.by, 3)[0].settled.any()
    known, how = find_known([newest, nothing, same, graph], all_.ids, Compared(all_.by.digests, "00"), 3)
    assert known.settled.all()
    assert (how.summary, how.figures) == ("a graph", {"recall@10": 0.5})
