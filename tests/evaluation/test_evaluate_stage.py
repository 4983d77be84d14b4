"""Stage `evaluate` on fakes of what the store hands it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from fractal_core.errors import StoreError
from fractal_core.evaluation.metrics import auc_roc
from fractal_core.evaluation.stage import evaluate
from fractal_core.store.stage import Progress, Runtime
from fractal_core.tables import METRICS


class FakeInputs:
    """Tables in memory."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        """Keep the tables by name."""
        self.tables = tables

    def table(self, name: str) -> pa.Table:
        """Return a table."""
        return self.tables[name]


class FakeOutputs:
    """Collects what is written, as strict about columns, types and nulls as the store."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: list[dict[str, object]] = []

    def write(self, name: str, rows: pa.Table) -> None:
        """Check the declared names and types, and that nothing is null."""
        assert name == "metrics"
        assert [(f.name, f.type) for f in rows.schema] == [(f.name, f.type) for f in METRICS.schema]
        assert all(column.null_count == 0 for column in rows.columns)
        self.rows += rows.to_pylist()


def no_progress(description: str, total: int) -> AbstractContextManager[Progress]:
    """Fail: this stage shows no progress."""
    raise AssertionError(description)


def run(tables: dict[str, pa.Table], aggregation: str = "min") -> dict[tuple[str, str, str, str], tuple[float, int]]:
    """Run the stage and return (value, rows) by key."""
    outputs = FakeOutputs()
    runtime = Runtime(device="cpu", batch_tokens=64, progress=no_progress, note=lambda text: None)
    evaluate(FakeInputs(tables), SimpleNamespace(aggregation=aggregation), outputs, runtime)
    keys = [tuple(row[key] for key in METRICS.keys) for row in outputs.rows]
    assert keys == sorted(set(keys)), "rows are in key order and none is there twice"
    return {key: (row["value"], row["rows"]) for key, row in zip(keys, outputs.rows, strict=True)}


def make_tables(seed: int = 0) -> dict[str, pa.Table]:
    """Forty responses of one to six sentences in random splits, every fifth unlabelled, every fourth gold missing."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 7, size=40)
    names = [f"r{i}" for i in random.permutation(40)]
    ids = np.repeat(names, sizes).tolist()
    index = pa.array(np.concatenate([np.arange(size) for size in sizes]), pa.int32())
    count = len(ids)
    gold = [None if i % 4 == 0 else float(v) for i, v in enumerate(random.integers(0, 2, count))]
    label = [None if i % 5 == 0 else float(i % 2) for i in range(40)]
    order = random.permutation(40)
    responses = pa.table(
        {
            "response_id": names,
            "label": pa.array(label, pa.float64()),
            "split": random.choice(["train", "dev", "test"], 40).tolist(),
        }
    )
    score = random.random(count)
    return {
        # Not in the order of the sentences: rows must be matched by id.
        "responses": responses.take(order),
        "sentences": pa.table({"response_id": ids, "sentence_index": index, "gold": pa.array(gold, pa.float64())}),
        "priors": pa.table(
            {
                "document_similarity": pa.array(random.random(count), pa.float32()),
                "query_similarity": pa.nulls(count, pa.float32()),
                "context_evidence": pa.array(
                    [None if i % 3 == 0 else v for i, v in enumerate(random.normal(size=count))], pa.float32()
                ),
                "query_evidence": pa.nulls(count, pa.float32()),
            }
        ),
        "pseudolabels": pa.table(
            {
                "response_id": ids,
                "sentence_index": index,
                "score": score,
                "posterior": random.random(count),
                "pseudolabel": pa.array(random.integers(0, 2, count), pa.int8()),
            }
        ),
    }


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_figures_equal_a_loop_over_rows(split: str) -> None:
    """Splits, gold, nulls and labels select the rows that a walk over dictionaries selects."""
    tables = make_tables()
    figures = run(tables)
    response = {row["response_id"]: row for row in tables["responses"].to_pylist()}
    rows = [
        {**prior, **pseudo, **sentence}
        for prior, pseudo, sentence in zip(
            *(tables[name].to_pylist() for name in ("priors", "pseudolabels", "sentences")), strict=True
        )
    ]
    mine = [r for r in rows if response[r["response_id"]]["split"] == split and r["gold"] is not None]
    for method in ("score", "posterior", "document_similarity", "context_evidence"):
        used = [r for r in mine if r[method] is not None]
        if method == "posterior":
            used = [r for r in used if response[r["response_id"]]["label"] is not None]
        value = auc_roc(np.array([r["gold"] for r in used]), np.array([r[method] for r in used]))
        assert figures[(split, "sentence", method, "auc_roc")] == (pytest.approx(value), len(used))
    right = [r["pseudolabel"] == r["gold"] for r in mine if response[r["response_id"]]["label"] is not None]
    assert figures[(split, "sentence", "pseudolabel", "accuracy")] == (pytest.approx(np.mean(right)), len(right))
    assert not any(method == "query_similarity" for _, _, method, _ in figures)


def test_response_level_is_the_hard_minimum() -> None:
    """The response figure compares the smallest sentence score of each labelled response with its label."""
    tables = make_tables()
    pseudo = tables["pseudolabels"].to_pylist()
    labelled = [r for r in tables["responses"].to_pylist() if r["label"] is not None and r["split"] == "train"]
    lowest = [min(p["score"] for p in pseudo if p["response_id"] == r["response_id"]) for r in labelled]
    expected = auc_roc(np.array([r["label"] for r in labelled]), np.array(lowest))
    assert run(tables)[("train", "response", "score", "auc_roc")] == (pytest.approx(expected), len(labelled))


def test_shares_give_mae() -> None:
    """Under avg with shares as labels the response figure is the mean absolute error, and there is no AUC."""
    tables = make_tables()
    shares = pa.array(np.linspace(0, 1, 40))
    tables["responses"] = tables["responses"].set_column(1, "label", shares)
    level = {(method, metric) for _, level, method, metric in run(tables, "avg") if level == "response"}
    assert level == {("score", "mae")}


def test_no_labels_no_rows() -> None:
    """Without gold and response labels nothing is written."""
    tables = make_tables()
    tables["responses"] = tables["responses"].set_column(1, "label", pa.nulls(40, pa.float64()))
    count = tables["sentences"].num_rows
    tables["sentences"] = tables["sentences"].set_column(2, "gold", pa.nulls(count, pa.float64()))
    assert run(tables) == {}


def test_tables_that_do_not_fit_are_an_error() -> None:
    """Pseudo-labels of other sentences, or sentences of unknown responses, stop the stage."""
    tables = make_tables()
    with pytest.raises(StoreError, match="do not hold the same sentences"):
        run({**tables, "pseudolabels": tables["pseudolabels"].slice(1)})
    with pytest.raises(StoreError, match="not in table responses"):
        run({**tables, "responses": tables["responses"].slice(1)})
