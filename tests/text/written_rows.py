"""Rows, and files of them in the formats of the input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

# Rows that a run takes, and one that it takes too, to be changed into one that it does not.
GOOD: list[Row] = [{"id": f"good{i}", "response": "One. Two.", "response_label": i % 2} for i in range(4)]
BASE: Row = {"id": "bad", "response": "One. Two.", "response_label": 1}


def lines(rows: list[Any]) -> bytes:
    """Return rows as JSONL."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def simple(count: int, **more: Any) -> list[Row]:
    """Return plain rows with both labels."""
    return [{"id": f"r{i:03}", "response": f"Text {i}.", "response_label": i % 2, **more} for i in range(count)]


def write(path: Path, rows: list[Row]) -> Path:
    """Write rows in the format of the suffix; a row that is text is a damaged line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0])
            writer.writerows([json.dumps(v) if isinstance(v, list) else v for v in row.values()] for row in rows)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
