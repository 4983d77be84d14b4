"""Stage `evaluate` run on fakes of what the store hands it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from fractal_core.evaluation.stage import evaluate
from fractal_core.store.stage import Progress, Runtime
from fractal_core.tables import METRICS, RELIABILITY


class FakeInputs:
    """Tables in memory, the file of the scorer, and a file of gold labels."""

    def __init__(self, tables: dict[str, pa.Table], student: Path | None, gold: Path | None = None) -> None:
        """Keep the tables by name."""
        self.tables = tables
        self.student = student
        self.gold = gold

    def sources(self, name: str) -> list[Path]:
        """Return the file of gold labels."""
        assert name == "gold"
        return [self.gold] if self.gold else []

    def file(self, name: str) -> Path:
        """Return the only file there is."""
        assert name == "student.safetensors"
        assert self.student is not None
        return self.student

    def table(self, name: str) -> pa.Table:
        """Return a table."""
        return self.tables[name]


class FakeOutputs:
    """Collects what is written, as strict about columns, types and nulls as the store."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: list[dict[str, object]] = []
        self.curves: list[dict[str, object]] = []

    def write(self, name: str, rows: pa.Table) -> None:
        """Check the declared names and types, and that nothing is null but what may be."""
        table = {"metrics": METRICS, "reliability": RELIABILITY}[name]
        assert [(f.name, f.type) for f in rows.schema] == [(f.name, f.type) for f in table.schema]
        assert all(rows.column(column.name).null_count == 0 for column in table.columns if not column.nullable)
        (self.rows if table is METRICS else self.curves).extend(rows.to_pylist())


def no_progress(description: str, total: int) -> AbstractContextManager[Progress]:
    """Fail: this stage shows no progress."""
    raise AssertionError(description)


def written_by(
    tables: dict[str, pa.Table],
    aggregation: str = "min",
    label_kind: str = "auto",
    student: Path | None = None,
    gold: Path | None = None,
) -> FakeOutputs:
    """Run the stage and return what it has written, of each table in the order of its keys."""
    outputs = FakeOutputs()
    runtime = Runtime(device="cpu", batch_tokens=64, progress=no_progress, note=lambda text: None)
    params = SimpleNamespace(
        aggregation=aggregation,
        label_kind=label_kind,
        id="id",
        sentence_labels="sentence_labels",
        grades=2,
    )
    evaluate(FakeInputs(tables, student, gold), params, outputs, runtime)
    for table, rows in ((RELIABILITY, outputs.curves), (METRICS, outputs.rows)):
        keys = [tuple(row[key] for key in table.keys) for row in rows]
        assert keys == sorted(set(keys)), "rows are in key order and none is there twice"
    return outputs


def rows_of(*arguments: Any, **options: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Run the stage and return the rows of table metrics by key."""
    return {tuple(row[key] for key in METRICS.keys): row for row in written_by(*arguments, **options).rows}


def run(*arguments: Any, **options: Any) -> dict[tuple[Any, ...], tuple[float, int]]:
    """Run the stage and return (value, rows) by key."""
    return {key: (row["value"], row["rows"]) for key, row in rows_of(*arguments, **options).items()}


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
            "pair": pa.nulls(40, pa.string()),
            "preferred": pa.nulls(40, pa.float64()),
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


def with_column(tables: dict[str, pa.Table], table: str, name: str, values: list[object], kind: pa.DataType) -> None:
    """Replace a column of one of the tables."""
    index = tables[table].column_names.index(name)
    tables[table] = tables[table].set_column(index, name, pa.array(values, kind))
