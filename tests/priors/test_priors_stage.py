"""Stage `priors` on fakes of what the store hands it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fractal_core.config import PriorsConfig
from fractal_core.errors import InputError, QueryError, StoreError
from fractal_core.evidence.catalogue import FEATURES as REAL_FEATURES
from fractal_core.evidence.catalogue import Feature
from fractal_core.priors import evidence_prior, stage
from fractal_core.priors.early_check import COMPUTED_BEFORE
from fractal_core.store.stage import Runtime
from fractal_core.tables import PRIORS

FEATURES = (
    Feature("cos_query", "Cosine to the query.", 1, "query"),
    Feature("cos_chunk_best", "Cosine to the best chunk.", 1, "context"),
    Feature("number_missing_share", "Share of its numbers that the context lacks.", -1, "context"),
)


class FakeInputs:
    """Tables in memory."""

    def __init__(self, **tables: pa.Table) -> None:
        """Keep the tables by name."""
        self.tables = tables

    def table(self, name: str) -> pa.Table:
        """Return a table."""
        return self.tables[name]

    def batches(self, name: str, rows: int = 2) -> Iterator[pa.RecordBatch]:
        """Stream a table in small batches."""
        return iter(self.tables[name].to_batches(max_chunksize=rows))

    def rows(self, name: str) -> int:
        """Count rows."""
        return self.tables[name].num_rows

    def earlier(self) -> list[Any]:
        """Return nothing: the stage has not run before."""
        return []

    def file(self, name: str) -> Path:
        """Fail: this stage reads no files."""
        raise AssertionError(name)

    def sources(self, name: str) -> list[Path]:
        """Fail: this stage reads no sources."""
        raise AssertionError(name)


class FakeOutputs:
    """Collects what is written, as strict about columns and types as the store."""

    def __init__(self) -> None:
        """Start empty."""
        self.blocks: list[pa.Table] = []
        self.folder = TemporaryDirectory()
        self.figures: dict[str, float] = {}

    def write(self, name: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Check the declared names and types, and that nothing required is null."""
        assert name == "priors"
        assert [(f.name, f.type) for f in rows.schema] == [(f.name, f.type) for f in PRIORS.schema]
        for column in PRIORS.columns:
            assert column.nullable or rows.column(column.name).null_count == 0
        self.blocks.append(rows)

    def file(self, name: str) -> Path:
        """Return where the one file goes that this stage writes."""
        assert name == "compared.parquet"
        return Path(self.folder.name) / name

    def figure(self, name: str, value: float) -> None:
        """Keep it."""
        self.figures[name] = value

    def scratch(self, name: str) -> Path:
        """Return where the vectors go."""
        assert name == "vectors.npy"
        return Path(self.folder.name) / name

    def rows(self) -> list[dict[str, object]]:
        """Return all rows."""
        return pa.concat_tables(self.blocks).to_pylist()


def runtime(notes: list[str]) -> Runtime:
    """Return a runtime that collects notes."""

    def progress(description: str, total: int) -> AbstractContextManager[SimpleNamespace]:
        return nullcontext(SimpleNamespace(advance=lambda amount=1: None))

    return Runtime(device="cpu", batch_tokens=64, progress=progress, note=notes.append)


TEXTS = {"north": [0.0, 1.0, 0.0], "east": [1.0, 0.0, 0.0], "north east": [1.0, 1.0, 0.0], "why?": [0.0, 0.0, 1.0]}


def make_inputs() -> FakeInputs:
    """Three responses, one of them test, one of one sentence; "north" occurs in all."""
    hashed = sorted((hashlib.blake2b(t.encode(), digest_size=16).hexdigest(), v) for t, v in TEXTS.items())
    keys = {
        "response_id": ["r2", "r2", "r10", "r10", "r10", "r3"],
        "sentence_index": pa.array([0, 1, 0, 1, 2, 0], pa.int32()),
    }
    return FakeInputs(
        responses=pa.table({"response_id": ["r10", "r2", "r3"], "split": ["train", "train", "test"]}),
        sentences=pa.table({**keys, "text": ["north", "east", "north", "north east", "east", "north"]}),
        embeddings=pa.table(
            {
                "text_hash": [h for h, _ in hashed],
                "vector": pa.array([v for _, v in hashed], pa.list_(pa.float32(), 3)),
            }
        ),
        evidence=pa.table(
            {
                **keys,
                "best_chunk": pa.array([0, 1, None, None, None, 2], pa.int32()),
                "cos_query": pa.array([None, None, 0.5, -0.5, 0.0, 1.0], pa.float32()),
                "cos_chunk_best": pa.array([1.0, 0.0, None, None, None, -1.0], pa.float32()),
                "number_missing_share": pa.array([0.0, 1.0, None, None, None, 100.0], pa.float32()),
            }
        ),
    )


def written(inputs: FakeInputs, notes: list[str] | None = None, **params: object) -> FakeOutputs:
    """Run the stage and return what it wrote."""
    outputs = FakeOutputs()
    stage.priors(inputs, PriorsConfig.model_validate(params), outputs, runtime(notes if notes is not None else []))
    return outputs


def run(inputs: FakeInputs, notes: list[str] | None = None, **params: object) -> list[dict[str, object]]:
    """Run the stage and return the rows."""
    return written(inputs, notes, **params).rows()


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the three features of the fake table in place of the catalogue."""
    monkeypatch.setattr(evidence_prior, "FEATURES", FEATURES)


def test_every_column() -> None:
    """All columns are what the small tables say by hand."""
    rows = run(make_inputs(), neighbours=2)
    assert [(row["response_id"], row["sentence_index"]) for row in rows] == [
        ("r2", 0),
        ("r2", 1),
        ("r10", 0),
        ("r10", 1),
        ("r10", 2),
        ("r3", 0),
    ]
    assert [row["document_similarity"] for row in rows] == [1.0, 0.5, None, None, None, 0.0]
    assert [row["query_similarity"] for row in rows] == [None, None, 0.75, 0.25, 0.5, 1.0]
    assert [row["best_chunk"] for row in rows] == [0, 1, None, None, None, 2]
    # z of train: cos_chunk_best and number_missing_share have mean 0.5 and deviation 0.5; cos_query 0 and 0.408.
    query = 0.5 / np.std([0.5, -0.5, 0.0])
    by_query = [np.nan, np.nan, query, -query, 0.0, min(4.0, 2 * query)]
    by_context = [1.0, -1.0, np.nan, np.nan, np.nan, (-3.0 - 4.0) / 2]
    for name, expected in (("query_evidence", by_query), ("context_evidence", by_context)):
        values = [np.nan if row[name] is None else row[name] for row in rows]
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
    correlation = [row["response_correlation"] for row in rows]
    assert correlation[5] is None
    assert correlation[0] == correlation[1] == pytest.approx((1 + np.corrcoef([0, 1, 0], [1, 0, 0])[0, 1]) / 2)
    assert rows[0]["neighbour_ids"] == ["r10#0", "r3#0"]
    assert rows[0]["neighbour_similarities"] == [1.0, 1.0]
    assert rows[5]["neighbour_ids"] == ["r2#0", "r10#0"]
    assert rows[3]["neighbour_ids"] == ["r2#0", "r2#1"]
    np.testing.assert_allclose(rows[3]["neighbour_similarities"], [0.5**0.5] * 2, rtol=1e-6)


def test_own_priors_are_null_unless_asked_for() -> None:
    """Without priors.column and priors.sql neither the input's numbers nor a query is looked at."""
    assert all(row["column_prior"] is None and row["sql_prior"] is None for row in run(make_inputs()))


def test_own_priors() -> None:
    """The input's numbers go to their sentences; a query sees them, the priors and every other table of the stage."""
    inputs = make_inputs()
    given = pa.array([[1.0, 2.0, None], [0.5], None], pa.list_(pa.float64()))
    inputs.tables["responses"] = inputs.tables["responses"].append_column("prior", given)
    notes: list[str] = []
    query = """
        SELECT s.response_id, s.sentence_index, column_prior + length(s.text) + 100 * e.cos_query + vector[1] AS prior
        FROM sentences AS s JOIN responses USING (response_id)
        JOIN priors USING (response_id, sentence_index) JOIN evidence AS e USING (response_id, sentence_index),
        (SELECT any_value(vector ORDER BY text_hash) AS vector FROM embeddings WHERE vector[3] = 1)
    """
    rows = run(inputs, notes, column=True, sql=query)
    assert [row["column_prior"] for row in rows] == [0.5, 0.5, 1.0, 2.0, None, None]
    assert [row["sql_prior"] for row in rows] == [None, None, 56.0, -38.0, None, None]
    assert notes == ["priors.column gives 4 of 6 sentences a prior", "priors.sql gives 2 of 6 sentences a prior"]


def test_a_query_sees_the_priors_it_is_checked_against() -> None:
    """Table priors has the columns that the check before the run takes it to have."""
    with pytest.raises(QueryError, match=f"columns response_id, sentence_index, {', '.join(COMPUTED_BEFORE)};"):
        run(make_inputs(), sql="SELECT * FROM priors")


@pytest.mark.parametrize("given", [[None, None, None], [[None, None, None], [], None]])
def test_a_column_without_any_number_is_an_error(given: list[list[float | None] | None]) -> None:
    """If priors.column is set and no response has a number, the run stops and says what to set."""
    inputs = make_inputs()
    column = pa.array(given, pa.list_(pa.float64()))
    inputs.tables["responses"] = inputs.tables["responses"].append_column("prior", column)
    with pytest.raises(InputError, match=r"priors\.column = true, but none of 3 responses .* priors\.column = false"):
        run(inputs, column=True)


def test_no_neighbours_needs_no_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """With neighbours = 0 the lists are empty and FAISS is never imported."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = run(make_inputs(), neighbours=0)
    assert all(row["neighbour_ids"] == [] and row["neighbour_similarities"] == [] for row in rows)


def test_blocks_of_output_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written two rows at a time, the table is the same."""
    whole = run(make_inputs(), neighbours=3)
    monkeypatch.setattr(stage, "BLOCK_NEIGHBOURS", 6)
    assert run(make_inputs(), neighbours=3) == whole


def test_nothing_is_left_of_the_mapped_vectors() -> None:
    """Their file has no name any more while they are read, so that a killed run leaves nothing of it."""
    outputs = written(make_inputs(), neighbours=2)
    assert sorted(path.name for path in Path(outputs.folder.name).iterdir()) == ["compared.parquet"]


def test_hnsw_reports_recall() -> None:
    """The recall of an approximate index reaches the user and table stages; an exact one has nothing to say."""
    notes: list[str] = []
    figures = written(make_inputs(), notes, neighbours=1, index="hnsw").figures
    assert len(notes) == 1
    assert f"recall@10 of {figures['recall@10']:.3f}" in notes[0]
    assert written(make_inputs(), notes, neighbours=1, index="flat").figures == {}
    assert len(notes) == 1


def test_no_train_response_gives_no_evidence_prior() -> None:
    """Without train sentences nothing can be standardised: null, and the user is told."""
    inputs = make_inputs()
    inputs.tables["responses"] = pa.table({"response_id": ["r10", "r2", "r3"], "split": ["test"] * 3})
    notes: list[str] = []
    assert all(row["context_evidence"] is None for row in run(inputs, notes))
    assert "query_evidence are null" in notes[0]


def test_no_sentences() -> None:
    """An empty data set gives an empty table."""
    inputs = make_inputs()
    for name in ("sentences", "evidence"):
        inputs.tables[name] = inputs.tables[name].slice(0, 0)
    assert run(inputs) == []


def test_tables_that_do_not_fit_are_an_error() -> None:
    """Evidence of other sentences, or a response in two places, stops the stage."""
    inputs = make_inputs()
    inputs.tables["evidence"] = inputs.tables["evidence"].slice(1)
    with pytest.raises(StoreError, match=r"sentences \(6 rows\) and evidence \(5 rows\)"):
        run(inputs)
    inputs = make_inputs()
    for name in ("sentences", "evidence"):
        inputs.tables[name] = inputs.tables[name].take([0, 2, 1, 3, 4, 5])
    with pytest.raises(StoreError, match="in more than one place"):
        run(inputs)


def test_similarities_read_columns_that_exist() -> None:
    """The two cosines the similarities come from are features of the real catalogue, of the right kind."""
    against = {feature.name: feature.against for feature in REAL_FEATURES}
    assert (against[stage.QUERY_COSINE], against[stage.DOCUMENT_COSINE]) == ("query", "context")
