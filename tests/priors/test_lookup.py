"""Neighbours of leading sentences by a graph and of the others exactly, at once or as data are added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.config import PriorsConfig
from fractal_core.priors import base as base_module
from fractal_core.priors import index as index_module
from fractal_core.priors import lookup
from fractal_core.priors.base import leading
from fractal_core.priors.index import build_index
from fractal_core.priors.known_neighbours import sentence_ids
from fractal_core.priors.lookup import find_neighbours
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences
from fractal_core.store.stage import Runtime


class Bar:
    """How far something is."""

    def __init__(self, description: str, total: int) -> None:
        """Start at nothing."""
        self.description, self.total, self.done = description, total, 0

    def advance(self, amount: int = 1) -> None:
        """Go on."""
        self.done += amount


class Data:
    """Sentences under names, whose texts are numbered in the order of their first appearance."""

    def __init__(self, vectors: np.ndarray, text: np.ndarray, owner: np.ndarray) -> None:
        """Take [T, D] vectors, and of each sentence its text and its response, which does not decrease."""
        used, first, number = np.unique(text, return_index=True, return_inverse=True)
        order = np.argsort(first)
        response = np.unique(owner, return_inverse=True)[1]
        self.sentences = Sentences(np.ascontiguousarray(vectors[used[order]]), np.argsort(order)[number], response)
        self.names = pa.chunked_array([pa.array([f"r{number:03}" for number in owner])])
        position = np.arange(len(owner)) - np.searchsorted(owner, owner)
        self.positions = pa.chunked_array([pa.array(position, pa.int32())])
        self.ids = sentence_ids(self.names, self.positions)


class Found:
    """What stage priors made of some data, as a later run finds it."""

    def __init__(self, data: Data, folder: str, kind: str, count: int, earlier: list[Found]) -> None:
        """Look the neighbours up."""
        self.folder, self.figures, self.notes = Path(folder) / str(len(earlier)), {}, []
        self.folder.mkdir()
        params = PriorsConfig(neighbours=count, index=kind)
        bars: list[Bar] = []

        def progress(description: str, total: int) -> AbstractContextManager[Bar]:
            bars.append(Bar(description, total))
            return nullcontext(bars[-1])

        runtime = Runtime(device="cpu", batch_tokens=64, progress=progress, note=self.notes.append)
        inputs: Any = SimpleNamespace(earlier=lambda: earlier)
        outputs: Any = SimpleNamespace(file=self.path, figure=self.figures.__setitem__)
        found = find_neighbours(data.sentences, data.ids, params, inputs, outputs, runtime, None)
        self.rows, self.similarities = found
        assert all(bar.done == bar.total for bar in bars)
        lists = [[data.ids[int(row)].as_py() for row in each if row >= 0] for each in self.rows]
        values = [[value for value in each if not np.isnan(value)] for each in self.similarities]
        self._table = pa.table(
            {
                "response_id": data.names,
                "sentence_index": data.positions,
                "neighbour_ids": pa.array(lists, pa.list_(pa.string())),
                "neighbour_similarities": pa.array(values, pa.list_(pa.float32())),
            }
        )

    def path(self, name: str) -> Path:
        """Return where the one file is."""
        assert name == "compared.parquet"
        return self.folder / name

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns."""
        assert name == "priors"
        return iter(self._table.select(list(columns)).to_batches(max_chunksize=rows))

    def all(self) -> tuple[object, ...]:
        """Return everything that the artefact gets."""
        return (
            self.rows.tobytes(),
            self.similarities.tobytes(),
            self.figures,
            self.notes,
            self.path("compared.parquet").read_bytes(),
        )


@pytest.fixture(name="graphs")
def _graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the graphs that are built, of which each finds few of the true neighbours."""
    return poor(monkeypatch)


def poor(patch: pytest.MonkeyPatch) -> list[int]:
    """Have graphs of few links, searched narrowly."""
    built: list[int] = []

    def counted(vectors: np.ndarray, kind: str, *arguments: Any, **named: Any) -> Any:
        if kind == "hnsw":
            built.append(len(vectors))
        return build_index(vectors, kind, *arguments, **named)

    patch.setattr(lookup, "build_index", counted)
    patch.setattr(index_module, "LINKS", 2)
    patch.setattr(index_module, "CANDIDATES_WHILE_BUILDING", 2)
    patch.setattr(index_module, "CANDIDATES", (1,))
    return built


def made(seed: int, texts: int, size: int, responses: int, coarse: bool = False) -> Data:
    """Draw sentences; some texts come more than once."""
    random = np.random.default_rng(seed)
    vectors = random.choice([-0.5, 0.5], (texts, 4)) if coarse else random.normal(size=(texts, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Data(vectors, random.integers(0, texts, size), np.sort(random.integers(0, responses, size)))


def part(data: Data, rows: np.ndarray) -> Data:
    """Return some of the sentences, by the names that they have."""
    vectors, text, _ = data.sentences
    owner = np.array([int(name[1:]) for name in data.names.to_pylist()])
    some = Data(vectors, text[rows], owner[rows])
    some.positions = data.positions.take(pa.array(np.flatnonzero(rows)))
    some.ids = sentence_ids(some.names, some.positions)
    return some


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    texts=st.integers(1, 150),
    size=st.integers(1, 300),
    responses=st.integers(1, 40),
    count=st.integers(1, 9),
    held=st.lists(st.floats(0.3, 1.0), min_size=1, max_size=3),
    gone=st.sampled_from([0.0, 0.0, 0.01]),
    late=st.sampled_from([0.0, 0.3]),
    bits=st.sampled_from([2, 5]),
    coarse=st.booleans(),
)
def test_as_data_come_and_go(
    seed: int,
    texts: int,
    size: int,
    responses: int,
    count: int,
    held: list[float],
    gone: float,
    late: float,
    bits: int,
    coarse: bool,
) -> None:
    """After any number of runs over less or other data: what a run over everything finds, notes and all, bit for bit.

    Some sentences are gone later, most of all those after the leading ones.
    """
    data = made(seed, texts, size, responses, coarse)
    random = np.random.default_rng(seed + 1)
    with TemporaryDirectory() as folder, TemporaryDirectory() as other, pytest.MonkeyPatch.context() as patch:
        poor(patch)
        patch.setattr(base_module, "SIGNIFICANT_BITS", bits)
        earlier: list[Found] = []
        for share in sorted(held):
            rows = data.sentences.response < max(1, share * responses)
            if rows.any():
                earlier.insert(0, Found(part(data, rows), folder, "hnsw", count, earlier))
        lead = len(leading(data.sentences).text)
        left = part(data, random.random(size) >= np.where(np.arange(size) < lead, gone, late))
        if len(left.ids):
            found = Found(left, folder, "hnsw", count, earlier)
            assert found.all() == Found(left, other, "hnsw", count, []).all()


def test_what_is_gone_leaves_nothing_behind(graphs: list[int], tmp_path: Path) -> None:
    """A later sentence that repeats leading ones is no reason for others to have those among their neighbours.

    Where there are more of those than neighbours, the later one is in no list, and may go without being missed.
    """
    random = np.random.default_rng(4)
    text = np.r_[random.permutation(np.r_[np.arange(400), np.repeat(400 + np.arange(30), 8)]), 400 + np.arange(12)]
    data = Data(plain(430).sentences.vectors, text, np.arange(652) // 4)
    (tmp_path / "anew").mkdir()
    first = Found(data, str(tmp_path), "hnsw", 5, [])
    assert graphs == [430]
    less = part(data, np.arange(652) < 644)
    again = Found(less, str(tmp_path), "hnsw", 5, [first])
    assert again.all() == Found(less, str(tmp_path / "anew"), "hnsw", 5, []).all()


def test_texts_that_turn_into_one(graphs: list[int], tmp_path: Path) -> None:
    """Two leading texts with one vector become one text: another graph, though sentences and vectors are the same."""
    separate = plain(652)
    vectors = separate.sentences.vectors.copy()
    vectors[7] = vectors[3]
    separate.sentences = separate.sentences._replace(vectors=vectors)
    text = np.where(np.arange(652) == 7, 3, np.arange(652))
    together = Data(vectors, text, np.arange(652) // 4)
    first = Found(separate, str(tmp_path), "hnsw", 5, [])
    assert Found(together, str(tmp_path), "hnsw", 5, [first]).rows.shape == (652, 5)
    assert graphs == [640, 639]


def plain(texts: int) -> Data:
    """Return sentences whose texts all differ, four a response."""
    vectors = np.random.default_rng(0).normal(size=(700, 6))[:texts]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Data(vectors, np.arange(texts), np.arange(texts) // 4)


def nearest(data: Data, row: int, among: np.ndarray, count: int) -> list[int]:
    """Return the nearest of some rows, by sorting all."""
    vectors = data.sentences.vectors.astype(np.float64)
    cosine = (vectors[data.sentences.text[among]] @ vectors[data.sentences.text[row]]).astype(np.float32)
    others = data.sentences.response[among] != data.sentences.response[row]
    return sorted(among[others].tolist(), key=dict(zip(among.tolist(), -cosine, strict=True)).__getitem__)[:count]


def test_what_comes_after_the_leading_is_compared_exactly(graphs: list[int], tmp_path: Path) -> None:
    """The graph's neighbours of a leading sentence, or nearer ones that came later; the true ones of the others."""
    data = plain(652)
    base = leading(data.sentences)
    assert len(base.text) == 640
    found = Found(data, str(tmp_path), "hnsw", 5, [])
    assert graphs == [640]
    by_graph, _ = nearest_sentences(base, 5, build_index(base.vectors, "hnsw", 5, device="cpu"))
    everything, after = np.arange(652), np.arange(640, 652)
    for row in range(0, 640, 7):
        proposed = np.concatenate([by_graph[row], after])
        assert found.rows[row].tolist() == nearest(data, row, proposed, 5)
    for row in range(640, 652):
        assert found.rows[row].tolist() == nearest(data, row, everything, 5)
    missed = [row for row in range(0, 640, 7) if found.rows[row].tolist() != nearest(data, row, everything, 5)]
    assert len(missed) > 5
    assert "of 640 distinct sentences" in found.notes[0]


def test_a_graph_is_made_when_more_lead(graphs: list[int], tmp_path: Path) -> None:
    """Some more sentences need none; a rounded number more, an edited leading one, or one that is gone does."""
    earlier: list[Found] = []
    for texts, built in ((640, [640]), (652, []), (668, []), (672, [672]), (664, [640])):
        graphs.clear()
        earlier.insert(0, Found(plain(texts), str(tmp_path), "hnsw", 5, earlier))
        assert graphs == built
        assert list(earlier[0].figures) == ["recall@10"]
    graphs.clear()
    Found(part(plain(652), np.arange(652) != 100), str(tmp_path), "hnsw", 5, earlier)
    assert graphs == [639]
    other, vectors = plain(652), plain(652).sentences.vectors.copy()
    vectors[100] = -vectors[100]
    other.sentences = other.sentences._replace(vectors=vectors)
    graphs.clear()
    (tmp_path / "edited").mkdir()
    Found(other, str(tmp_path / "edited"), "hnsw", 5, earlier)
    assert graphs == [640]


def test_exact_and_approximate_results_do_not_know_each_other(graphs: list[int], tmp_path: Path) -> None:
    """What was found in a graph is no start for an exact search, nor the other way round."""
    data = plain(652)
    approximate = Found(data, str(tmp_path), "hnsw", 5, [])
    exact = Found(data, str(tmp_path), "flat", 5, [approximate])
    assert exact.rows[3].tolist() == nearest(data, 3, np.arange(652), 5)
    assert (exact.rows != approximate.rows).any()
    assert exact.notes == []
    graphs.clear()
    again = Found(data, str(tmp_path), "hnsw", 5, [exact, exact])
    assert graphs == [640]
    np.testing.assert_array_equal(again.rows, approximate.rows)


def test_one_response_with_nearly_all_texts_leads_nothing(graphs: list[int], tmp_path: Path) -> None:
    """If the first response alone has more texts than lead, all are compared exactly."""
    data = plain(652)
    response = np.maximum(np.arange(652) - 645, 0)
    data = Data(data.sentences.vectors, np.arange(652), response)
    found = Found(data, str(tmp_path), "hnsw", 5, [])
    assert graphs == []
    assert found.rows[0].tolist() == nearest(data, 0, np.arange(652), 5)
    assert found.figures == {}
